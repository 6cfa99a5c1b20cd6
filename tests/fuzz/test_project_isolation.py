"""Isolation of projects: no response to one project holds data of the other."""

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
from vmapi.domain.uuids import UUID_REGEX
from vmapi.settings.limits import parse_quotas
from vmapi.settings.memory import parse_latency
from vmapi.settings.settings import Settings

PROJECTS = ("red", "blue")
READS = (
    *("/vms", "/vms?page_size=1&page=2", "/vms?status=DELETED", "/vms?name=n*&sort=-name"),
    *("/operations", "/operations?page_size=2", "/operations?idempotency_key=k-1", "/quota"),
)
ID = re.compile(UUID_REGEX)
ACTIONS = ("start", "stop", "restart", "pause", "resume")

small_numbers = st.integers(0, 3)
steps = st.lists(
    st.tuples(
        st.sampled_from(PROJECTS),
        st.sampled_from(("create", "rename", "delete", "act", "bulk", "settle")),
        st.booleans(),
        small_numbers,
        small_numbers,
    ),
    max_size=8,
)


class TwoProjects:
    """Two projects in one harness, with the ids that each created and received."""

    def __init__(self, harness: ApiHarness) -> None:
        self.harness = harness
        self.created_ids: dict[str, list[str]] = {project: [] for project in PROJECTS}
        self.received_ids: dict[str, set[str]] = {project: set() for project in PROJECTS}
        for project in PROJECTS:
            # the same name under the same key
            self.run_step(project, "create", own=True, number=0, variant=1)
            assert len(self.created_ids[project]) == 1
        harness.run_until_settled()

    def request(self, project: str, method: str, path: str, **fields: Any) -> TestResponse:
        """Send a request of one project, and record the ids that the response adds to it."""
        with as_project(self.harness, project):
            response = self.harness.call(method, path, **fields)
        response_text = response.text + str(response.headers)
        request_text = path + str(fields)
        self.received_ids[project] |= set(ID.findall(response_text)) - set(ID.findall(request_text))
        other = PROJECTS[PROJECTS[0] == project]
        assert f"secret-of-{other}" not in response_text
        return response

    def vm_id_of(self, project: str, *, own: bool, number: int) -> str:
        """Return the id of a VM of the project, or of the other project."""
        vm_ids = self.created_ids[project if own else PROJECTS[PROJECTS[0] == project]]
        return vm_ids[number % len(vm_ids)] if vm_ids else "00000000-0000-4000-8000-000000000000"

    def run_step(self, project: str, kind: str, own: bool, number: int, variant: int) -> None:
        """Run one step of the drawn list."""
        vm_path = f"/vms/{self.vm_id_of(project, own=own, number=number)}"
        metadata = {"owner": f"secret-of-{project}"}
        if kind == "create":
            body = {
                **CREATE_BODY,
                "name": f"name-{number}",
                "metadata": metadata,
                "start": bool(variant),
            }
            key = {"Idempotency-Key": f"k-{variant}"}
            response = self.request(project, "POST", "/vms", json=body, headers=key)
            if response.status_code in (201, 202):
                self.created_ids[project].append(response.json["id"])
        elif kind == "rename":
            body = {"name": f"name-{variant}", "metadata": metadata}
            self.request(project, "PATCH", vm_path, json=body)
        elif kind == "delete":
            self.request(project, "DELETE", vm_path)
        elif kind == "act":
            self.request(project, "POST", f"{vm_path}/{ACTIONS[variant]}")
        elif kind == "bulk":
            ids = [self.vm_id_of(project, own=is_own, number=number) for is_own in (True, False)]
            selection = {"ids": ids} if variant else {"filter": {"name": "*"}}
            body = {"action": ACTIONS[variant], **selection}
            self.request(project, "POST", "/vms/actions", json=body)
        elif kind == "settle":
            self.harness.run_until_settled()

    def read_all(self) -> None:
        """Read all lists and VMs as each project."""
        for project in PROJECTS:
            for path in READS:
                response: Any = self.request(project, "GET", path).json
                if next_url := response.get("next"):
                    self.request(project, "GET", next_url.removeprefix(BASE))
            for owner in PROJECTS:
                for vm_id in self.created_ids[owner][-2:]:
                    for suffix in ("", "/status", "/console"):
                        response = self.request(project, "GET", f"/vms/{vm_id}{suffix}")
                        assert owner == project or response.status_code == 404


@given(steps)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_projects_never_receive_data_of_each_other(shell: Flask, steps: list[Any]) -> None:
    clock = Clock()
    cloud = MemoryBackend(latency=parse_latency("*=0.5"), clock=clock, sleep=clock.sleep)
    services = bootstrap(
        Settings(log_level="CRITICAL", quotas=parse_quotas("*:vms=3")), cloud, clock
    )
    services.engine.stop()
    shell.extensions["vmapi"] = services
    projects = TwoProjects(ApiHarness(shell, cloud, clock))
    try:
        for step in steps:
            projects.run_step(*step)
        projects.read_all()
        ids_of_both = projects.received_ids["red"] & projects.received_ids["blue"]
        assert ids_of_both <= {network.id for network in cloud.list_networks()}
        assert not set(projects.created_ids["red"]) & set(projects.created_ids["blue"])
    finally:
        services.store.close()
