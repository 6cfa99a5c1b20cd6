"""Whatever two projects do, neither ever sees anything of the other."""

import re
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from tests.support.fake_clock import Clock
from tests.support.project_callers import as_project
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.bootstrap import bootstrap
from vmapi.settings.limits import parse_quotas
from vmapi.settings.memory import parse_latency
from vmapi.settings.settings import Settings

PROJECTS = ("red", "blue")
READS = (
    *("/vms", "/vms?page_size=1&page=2", "/vms?status=DELETED", "/vms?name=n*&sort=-name"),
    *("/operations", "/operations?page_size=2", "/operations?idempotency_key=k-1", "/quota"),
)
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ACTIONS = ("start", "stop", "restart", "pause", "resume")

numbers = st.integers(0, 3)
steps = st.lists(
    st.tuples(
        st.sampled_from(PROJECTS),
        st.sampled_from(("create", "rename", "delete", "act", "bulk", "settle")),
        st.booleans(),
        numbers,
        numbers,
    ),
    max_size=8,
)


class Apart:
    """Two projects in one harness: all ids that were ever answered to each, and what it changed."""

    def __init__(self, harness: ApiHarness) -> None:
        self.harness = harness
        self.made: dict[str, list[str]] = {project: [] for project in PROJECTS}
        self.shown: dict[str, set[str]] = {project: set() for project in PROJECTS}
        for project in PROJECTS:
            # the same name under the same key
            self.do(project, "create", own=True, number=0, more=1)
            assert len(self.made[project]) == 1
        harness.run_until_settled()

    def ask(self, project: str, method: str, path: str, **given: Any) -> TestResponse:
        """Send a request of one project, and note what it is told of its own accord."""
        with as_project(self.harness, project):
            answer = self.harness.call(method, path, **given)
        told = answer.text + str(answer.headers)
        asked = path + str(given)
        self.shown[project] |= set(ID.findall(told)) - set(ID.findall(asked))
        other = PROJECTS[PROJECTS[0] == project]
        assert f"secret-of-{other}" not in told
        return answer

    def target(self, project: str, *, own: bool, number: int) -> str:
        """Return a VM of the project, or of the other one."""
        known = self.made[project if own else PROJECTS[PROJECTS[0] == project]]
        return known[number % len(known)] if known else "00000000-0000-4000-8000-000000000000"

    def do(self, project: str, what: str, own: bool, number: int, more: int) -> None:
        """Take one step."""
        vm = f"/vms/{self.target(project, own=own, number=number)}"
        metadata = {"whose": f"secret-of-{project}"}
        if what == "create":
            body = {
                **CREATE_BODY,
                "name": f"name-{number}",
                "metadata": metadata,
                "start": bool(more),
            }
            key = {"Idempotency-Key": f"k-{more}"}
            answer = self.ask(project, "POST", "/vms", json=body, headers=key)
            if answer.status_code in (201, 202):
                self.made[project].append(answer.json["id"])  # type: ignore[index]
        elif what == "rename":
            body = {"name": f"name-{more}", "metadata": metadata}
            self.ask(project, "PATCH", vm, json=body)
        elif what == "delete":
            self.ask(project, "DELETE", vm)
        elif what == "act":
            self.ask(project, "POST", f"{vm}/{ACTIONS[more]}")
        elif what == "bulk":
            ids = [self.target(project, own=each, number=number) for each in (True, False)]
            which = {"ids": ids} if more else {"filter": {"name": "*"}}
            body = {"action": ACTIONS[more], **which}
            self.ask(project, "POST", "/vms/actions", json=body)
        elif what == "settle":
            self.harness.run_until_settled()

    def read(self) -> None:
        """Let each project read all that it can."""
        for project in PROJECTS:
            for path in READS:
                answer: Any = self.ask(project, "GET", path).json
                if following := answer.get("next"):
                    self.ask(project, "GET", following.removeprefix(BASE))
            for owner in PROJECTS:
                for vm_id in self.made[owner][-2:]:
                    for below in ("", "/status", "/console"):
                        answer = self.ask(project, "GET", f"/vms/{vm_id}{below}")
                        assert owner == project or answer.status_code == 404


@given(steps)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_projects_never_see_anything_of_each_other(shell: Flask, steps: list[Any]) -> None:
    clock = Clock()
    cloud = MemoryBackend(latency=parse_latency("*=0.5"), clock=clock, sleep=clock.sleep)
    services = bootstrap(
        Settings(log_level="CRITICAL", quotas=parse_quotas("*:vms=3")), cloud, clock
    )
    services.engine.stop()
    shell.extensions["vmapi"] = services
    apart = Apart(ApiHarness(shell, cloud, clock))
    try:
        for step in steps:
            apart.do(*step)
        apart.read()
        shared = apart.shown["red"] & apart.shown["blue"]
        assert shared <= {network.id for network in cloud.list_networks()}
        assert not set(apart.made["red"]) & set(apart.made["blue"])
    finally:
        services.store.close()
