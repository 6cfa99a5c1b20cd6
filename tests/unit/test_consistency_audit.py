"""The audit of the kill test: only a delete that Nova lost may miss its deadline."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.support.live.consistency_audit import ConsistencyAudit
from tests.support.live.retrying_client import FinalResponse, RetryingClient
from tests.support.live.vm_scenario import VMScenario

VM_ID = "11111111-2222-4333-8444-555555555555"
CAST_EVENT = {"event": "compute_terminate_instance", "result": None}


@dataclass
class FakeResponse:
    """A response of Nova."""

    body: Any
    status_code: int = 200
    text: str = ""

    def json(self) -> Any:
        return self.body


@dataclass
class FakeNova:
    """One live server with the instance actions `records`, and the events of its deletes."""

    task_state: str | None = "deleting"
    records: tuple[str, ...] = ("delete", "stop", "create")
    events: list[Any] = field(default_factory=list)

    @property
    def compute(self) -> "FakeNova":
        return self

    def get(self, path: str, params: Any = None, **_: Any) -> FakeResponse:
        """Respond to a read of the audit."""
        if path == "/servers/detail":
            server = {
                "id": VM_ID,
                "name": "vm",
                "status": "SHUTOFF",
                "OS-EXT-STS:task_state": self.task_state,
                "tags": ["vmapi.operation.create"],
            }
            return FakeResponse({"servers": [] if "deleted" in params else [server]})
        if path.endswith("/os-instance-actions"):
            records = [{"action": action, "request_id": "req-1"} for action in self.records]
            return FakeResponse({"instanceActions": records})
        return FakeResponse({"instanceAction": {"events": self.events}})


class FakeClient:
    """A client with a successful create, and a delete that missed its deadline."""

    def list_operations(self, **filters: str) -> list[Any]:
        """List the operation of a key, or all of a status."""
        error = {"code": "operation_timeout"}
        operations = [
            {"id": "create", "action": "create", "status": "succeeded", "error": None},
            {"id": "delete", "action": "delete", "status": "failed", "error": error},
        ]
        return [
            {**operation, "vm_id": VM_ID}
            for operation in operations
            if filters.get("status", operation["status"]) == operation["status"]
            and filters.get("idempotency_key", operation["id"]) == operation["id"]
        ]


def run_audit(nova: FakeNova) -> dict[str, int]:
    scenario = VMScenario("vm", VM_ID)
    scenario.responses = {
        "create": FinalResponse("create", 201, {"id": VM_ID}),
        "delete": FinalResponse("delete", 504, {"code": "operation_timeout"}),
    }
    client = cast("RetryingClient", FakeClient())
    return dict(ConsistencyAudit(nova, "vm", client).check([scenario]))


@pytest.mark.parametrize("records", [("stop", "create"), ("delete", "stop", "create")])
def test_delete_that_nova_lost_before_the_cast_may_time_out(records: tuple[str, ...]) -> None:
    outcomes = run_audit(FakeNova(records=records))
    assert outcomes == {"create succeeded": 1, "delete failed operation_timeout": 1}


@pytest.mark.parametrize(
    "nova",
    [
        FakeNova(task_state=None),
        FakeNova(task_state="powering-off"),
        FakeNova(events=[CAST_EVENT]),
        FakeNova(records=("delete", "stop", "stop", "create")),
    ],
    ids=["never-received", "other-task", "reached-the-host", "stopped-twice"],
)
def test_other_timeout_of_a_delete_is_a_defect(nova: FakeNova) -> None:
    with pytest.raises(AssertionError):
        run_audit(nova)
