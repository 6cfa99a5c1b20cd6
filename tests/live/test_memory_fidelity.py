"""The memory cloud compared with a real cloud: the same requests, the same responses.

Hypothesis runs random lifecycles on both through the API. The test compares the facts that a script
depends on: the acceptance of a request, the code of its refusal, and the settled VM.
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

MAX_EXAMPLES = int(os.environ.get("TEST_FIDELITY_WALKS", "4"))
STEP_COUNT = 12
SETTLE_TIMEOUT = 180
BASE = "/api/v1"
COMPARED_FIELDS = (
    "name",
    "status",
    "task",
    "allowed_actions",
    "flavor",
    "image",
    "metadata",
    "key_name",
)
COMPARED_FIELDS += ("security_groups", "locked", "backend_status")
ACTIONS = st.sampled_from(["start", "stop", "pause", "resume", "restart"])
BODIES = st.sampled_from([None, {"type": "soft"}, {"type": "hard"}])

pytestmark = pytest.mark.live


class CloudClient:
    """One of the two clouds, behind the API."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.ids: dict[str, str] = {}

    def send(self, method: str, path: str, body: Any = None) -> tuple[str, Any]:
        """Send a request; return "accepted" or the problem code, and the body."""
        response = self.client.open(BASE + path, method=method, json=body)
        if response.status_code < 300:
            return "accepted", response.json if response.data else None
        assert response.mimetype == "application/problem+json"
        return response.json["code"], response.json

    def wait_until_settled(self, vm: str) -> dict[str, Any] | str:
        """Return the compared fields of a settled VM; "gone" for a deleted VM."""
        until = time.monotonic() + SETTLE_TIMEOUT
        while time.monotonic() < until:
            code, vm_json = self.send("GET", f"/vms/{self.ids[vm]}")
            if code != "accepted":
                assert code == "vm_not_found"
                return "gone"
            if vm_json["task"] is None:
                fault = vm_json["fault"] and vm_json["fault"]["code"]
                networks = [(a["network"], a["type"]) for a in vm_json["addresses"]]
                return {key: vm_json[key] for key in COMPARED_FIELDS} | {
                    "fault": fault,
                    "at": networks,
                }
            time.sleep(0.1)
        raise AssertionError(f"{vm} does not settle: {vm_json}")


class LifecycleComparison(RuleBasedStateMachine):
    """Random lifecycles of one VM after another on both clouds."""

    clients: tuple[FlaskClient, FlaskClient]

    @initialize()
    def begin(self) -> None:
        """Start with a running VM."""
        self.clouds = tuple(CloudClient(client) for client in self.clients)
        self.run = uuid4().hex[:6]
        self.count = 0
        self.vm = self.create_vm(start=True)
        self.assert_same_vm()

    def teardown(self) -> None:
        """Delete the remaining VMs."""
        for cloud in getattr(self, "clouds", ()):
            for vm in cloud.ids.values():
                cloud.send("DELETE", f"/vms/{vm}")

    @rule(choice=st.integers(0, 2))
    def perform_allowed_action(self, choice: int) -> None:
        """Perform an allowed action other than delete."""
        allowed = [
            action for action in self.assert_same_vm()["allowed_actions"] if action != "delete"
        ]
        assert self.send_to_both("POST", f"/{allowed[choice % len(allowed)]}") == "accepted"
        self.assert_same_vm()

    @rule(action=ACTIONS, body=BODIES)
    def perform_any_action(self, action: str, body: Any) -> None:
        """Perform any action, allowed or not, and compare the settled VMs."""
        self.send_to_both("POST", f"/{action}", body if action == "restart" else None)
        self.assert_same_vm()

    @rule(choice=st.integers(0, 2), second=ACTIONS)
    def act_during_a_task(self, choice: int, second: str) -> None:
        """Request a second action during a task, which is refused."""
        allowed = [
            action for action in self.assert_same_vm()["allowed_actions"] if action != "delete"
        ]
        for cloud in self.clouds:
            path = f"/vms/{cloud.ids[self.vm]}"
            first_code, _ = cloud.send("POST", f"{path}/{allowed[choice % len(allowed)]}")
            second_code, _ = cloud.send("POST", f"{path}/{second}")
            assert (first_code, second_code) == ("accepted", "task_in_progress")
        self.assert_same_vm()

    @rule(env=st.sampled_from(["prod", None]))
    def update(self, env: str | None) -> None:
        """Change the metadata."""
        assert self.send_to_both("PATCH", "", {"metadata": {"env": env}}) == "accepted"
        self.assert_same_vm()

    @rule()
    def rename(self) -> None:
        """Change the name; the old name becomes free."""
        self.count += 1
        assert (
            self.send_to_both("PATCH", "", {"name": f"fid-{self.run}-{self.count}"}) == "accepted"
        )
        self.assert_same_vm()

    @rule()
    def create_with_taken_name(self) -> None:
        """Create a VM with the name of another, which is refused."""
        name = self.assert_same_vm()["name"]
        for cloud in self.clouds:
            code, problem = cloud.send("POST", "/vms", self.create_body(name))
            assert code == "name_taken"
            assert problem["vm_id"] == cloud.ids[self.vm]

    @rule(field=st.sampled_from(["flavor", "image", "network", "key_name", "security_groups"]))
    def create_with_unknown_resource(self, field: str) -> None:
        """Create a VM with a resource that no cloud has."""
        unknown = ["no-such"] if field == "security_groups" else "no-such"
        body = self.create_body(f"fid-{self.run}-wrong") | {field: unknown}
        codes = {cloud.send("POST", "/vms", body)[0] for cloud in self.clouds}
        assert len(codes) == 1, codes
        assert codes.pop().endswith("_not_found")

    @rule(start=st.booleans())
    def replace(self, start: bool) -> None:
        """Delete the VM, assert that it is not found, and create another."""
        assert self.send_to_both("DELETE", "") == "accepted"
        assert [cloud.wait_until_settled(self.vm) for cloud in self.clouds] == ["gone", "gone"]
        assert self.send_to_both("POST", "/start") == "vm_not_found"
        self.remove_id(self.vm)
        self.vm = self.create_vm(start=start, metadata={"env": "test"})
        self.assert_same_vm()

    @rule()
    def delete_while_building(self) -> None:
        """Delete a VM during its build."""
        vm, self.vm = self.vm, self.create_vm()
        assert self.send_to_both("DELETE", "") == "accepted"
        assert [cloud.wait_until_settled(self.vm) for cloud in self.clouds] == ["gone", "gone"]
        self.remove_id(self.vm)
        self.vm = vm

    def create_vm(self, **members: Any) -> str:
        """Create a VM on both clouds, and return its name."""
        self.count += 1
        vm = f"fid-{self.run}-{self.count}"
        for cloud in self.clouds:
            code, created = cloud.send("POST", "/vms", self.create_body(vm) | members)
            assert code == "accepted", created
            cloud.ids[vm] = created["id"]
        return vm

    def create_body(self, name: str) -> dict[str, Any]:
        return {"name": name, "flavor": "m1.tiny", "image": "debian-12", "network": "private"}

    def send_to_both(self, method: str, path: str, body: Any = None) -> str:
        """Send a request to both clouds, and return the common code."""
        responses = [
            cloud.send(method, f"/vms/{cloud.ids[self.vm]}{path}", body) for cloud in self.clouds
        ]
        (memory, memory_problem), (real, real_problem) = responses
        assert memory == real, (memory_problem, real_problem)
        if memory == "invalid_state":
            for key in ("current_status", "allowed_actions"):
                assert memory_problem[key] == real_problem[key]
        return memory

    def assert_same_vm(self) -> Any:
        """Assert that the settled VM is equal on both clouds, and return it."""
        memory, real = (cloud.wait_until_settled(self.vm) for cloud in self.clouds)
        assert memory == real
        return memory

    def remove_id(self, vm: str) -> None:
        for cloud in self.clouds:
            del cloud.ids[vm]


def test_memory_cloud_behaves_like_a_real_cloud(cloud_settings: Settings) -> None:
    real = create_app(cloud_settings)
    memory = create_app(Settings(), MemoryBackend(latency=parse_latency("1")))
    comparison_class = type(
        "Walk", (LifecycleComparison,), {"clients": (memory.test_client(), real.test_client())}
    )
    run_state_machine_as_test(
        comparison_class,
        settings=settings(
            max_examples=MAX_EXAMPLES,
            stateful_step_count=STEP_COUNT,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for app in (memory, real):
        app.extensions["vmapi"].engine.stop()
        app.extensions["vmapi"].backend.close()
        app.extensions["vmapi"].store.close()
