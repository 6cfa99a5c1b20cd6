"""The memory cloud and a real one, side by side: the same requests, the same answers.

Hypothesis walks random lifecycles over both through the API. What is compared is what a script
branches on: whether a request is accepted, the code of its refusal, and the VM once it has settled.
"""

import os
import time
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.memory import parse_latency
from vmapi.settings.settings import Settings

WALKS = int(os.environ.get("TEST_FIDELITY_WALKS", "4"))
STEPS = 12
DEADLINE = 60
BASE = "/api/v1"
COMPARED = ("name", "status", "task", "allowed_actions", "flavor", "image", "metadata", "key_name")
COMPARED += ("security_groups", "locked", "backend_status")
ACTIONS = st.sampled_from(["start", "stop", "pause", "resume", "restart"])
BODIES = st.sampled_from([None, {"type": "soft"}, {"type": "hard"}])

pytestmark = pytest.mark.live


class Side:
    """One of the two clouds, behind the API."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.ids: dict[str, str] = {}

    def send(self, method: str, path: str, body: Any = None) -> tuple[str, Any]:
        """Return what a script would branch on, and the body."""
        response = self.client.open(BASE + path, method=method, json=body)
        if response.status_code < 300:
            return "accepted", response.json if response.data else None
        assert response.mimetype == "application/problem+json"
        return response.json["code"], response.json

    def settled(self, vm: str) -> dict[str, Any] | str:
        """Return what is compared of a VM that nothing is under way with; "gone" without one."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            code, seen = self.send("GET", f"/vms/{self.ids[vm]}")
            if code != "accepted":
                assert code == "vm_not_found"
                return "gone"
            if seen["task"] is None:
                fault = seen["fault"] and seen["fault"]["code"]
                networks = [(a["network"], a["type"]) for a in seen["addresses"]]
                return {key: seen[key] for key in COMPARED} | {"fault": fault, "at": networks}
            time.sleep(0.1)
        raise AssertionError(f"{vm} does not settle: {seen}")


class Lifecycles(RuleBasedStateMachine):
    """The random life of a VM on both clouds; when it is deleted, another one begins."""

    clients: tuple[FlaskClient, FlaskClient]

    @initialize()
    def begin(self) -> None:
        """Start with a running VM."""
        self.sides = tuple(Side(client) for client in self.clients)
        self.run = uuid4().hex[:6]
        self.count = 0
        self.vm = self.order(start=True)
        self.same_vm()

    def teardown(self) -> None:
        """Delete what is left."""
        for side in getattr(self, "sides", ()):
            for vm in side.ids.values():
                side.send("DELETE", f"/vms/{vm}")

    @rule(choice=st.integers(0, 2))
    def go_on(self, choice: int) -> None:
        """Do something that is allowed, short of deleting."""
        allowed = [each for each in self.same_vm()["allowed_actions"] if each != "delete"]
        assert self.both("POST", f"/{allowed[choice % len(allowed)]}") == "accepted"
        self.same_vm()

    @rule(action=ACTIONS, body=BODIES)
    def act(self, action: str, body: Any) -> None:
        """Do anything, allowed or not, and wait for what comes of it."""
        self.both("POST", f"/{action}", body if action == "restart" else None)
        self.same_vm()

    @rule(choice=st.integers(0, 2), second=ACTIONS)
    def rush(self, choice: int, second: str) -> None:
        """Do not wait: what is under way is in the way of everything but delete."""
        allowed = [each for each in self.same_vm()["allowed_actions"] if each != "delete"]
        assert self.both("POST", f"/{allowed[choice % len(allowed)]}") == "accepted"
        assert self.both("POST", f"/{second}") == "task_in_progress"
        self.same_vm()

    @rule(env=st.sampled_from(["prod", None]))
    def update(self, env: str | None) -> None:
        """Change the metadata."""
        assert self.both("PATCH", "", {"metadata": {"env": env}}) == "accepted"
        self.same_vm()

    @rule()
    def rename(self) -> None:
        """Change the name; the old one is free again."""
        self.count += 1
        assert self.both("PATCH", "", {"name": f"fid-{self.run}-{self.count}"}) == "accepted"
        self.same_vm()

    @rule()
    def take_the_name(self) -> None:
        """Ask for a name that is taken."""
        name = self.same_vm()["name"]
        for side in self.sides:
            code, problem = side.send("POST", "/vms", self.wanted(name))
            assert code == "name_taken"
            assert problem["vm_id"] == side.ids[self.vm]

    @rule(wrong=st.sampled_from(["flavor", "image", "network", "key_name", "security_groups"]))
    def name_what_is_not_there(self, wrong: str) -> None:
        """Name something that no cloud has."""
        nothing = ["no-such"] if wrong == "security_groups" else "no-such"
        body = self.wanted(f"fid-{self.run}-wrong") | {wrong: nothing}
        codes = {side.send("POST", "/vms", body)[0] for side in self.sides}
        assert len(codes) == 1, codes
        assert codes.pop().endswith("_not_found")

    @rule(start=st.booleans())
    def replace(self, start: bool) -> None:
        """Delete the VM, then it is as if it had never been; and make another."""
        assert self.both("DELETE", "") == "accepted"
        assert [side.settled(self.vm) for side in self.sides] == ["gone", "gone"]
        assert self.both("POST", "/start") == "vm_not_found"
        self.forget(self.vm)
        self.vm = self.order(start=start, metadata={"env": "test"})
        self.same_vm()

    @rule()
    def delete_while_building(self) -> None:
        """Delete a VM that is still being made."""
        vm, self.vm = self.vm, self.order()
        assert self.both("DELETE", "") == "accepted"
        assert [side.settled(self.vm) for side in self.sides] == ["gone", "gone"]
        self.forget(self.vm)
        self.vm = vm

    def order(self, **more: Any) -> str:
        """Ask both clouds for a VM and return what we call it."""
        self.count += 1
        vm = f"fid-{self.run}-{self.count}"
        for side in self.sides:
            code, made = side.send("POST", "/vms", self.wanted(vm) | more)
            assert code == "accepted", made
            side.ids[vm] = made["id"]
        return vm

    def wanted(self, name: str) -> dict[str, Any]:
        return {"name": name, "flavor": "m1.tiny", "image": "debian-12", "network": "private"}

    def both(self, method: str, path: str, body: Any = None) -> str:
        """Send the same to both; return the code that both answered with."""
        responses = [
            side.send(method, f"/vms/{side.ids[self.vm]}{path}", body) for side in self.sides
        ]
        (memory, ours), (real, theirs) = responses
        assert memory == real, (ours, theirs)
        if memory == "invalid_state":
            for key in ("current_status", "allowed_actions"):
                assert ours[key] == theirs[key]
        return memory

    def same_vm(self) -> Any:
        """See that the VM is the same on both, once it has settled; return it."""
        memory, real = (side.settled(self.vm) for side in self.sides)
        assert memory == real
        return memory

    def forget(self, vm: str) -> None:
        for side in self.sides:
            del side.ids[vm]


def test_the_memory_cloud_is_like_a_real_one(cloud_settings: Settings) -> None:
    real = create_app(cloud_settings)
    memory = create_app(Settings(), MemoryBackend(latency=parse_latency("0.3")))
    walk = type("Walk", (Lifecycles,), {"clients": (memory.test_client(), real.test_client())})
    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for app in (memory, real):
        app.extensions["vmapi"].engine.stop()
        app.extensions["vmapi"].backend.close()
        app.extensions["vmapi"].store.close()
