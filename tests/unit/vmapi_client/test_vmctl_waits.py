"""Waits of vmctl for several VMs: one deadline for the whole command, on a clock of the test."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client import VM, Deadline
from vmapi_client.cli import bulk, status_wait
from vmapi_client.cli.app import App
from vmapi_client.cli.bulk import BulkAction
from vmapi_client.cli.parameters import Timeout
from vmapi_client.cli.progress import Progress
from vmapi_client.cli.status_wait import StatusWait
from vmapi_client.core.calls.session import CallSession
from vmapi_client.core.replies import Server
from vmapi_client.errors import DeadlineExceeded, VMFailed, VmNotFound
from vmapi_client.models import Problem

TIMEOUT_SECONDS = 10.0
QUIET = Progress("waiting", 1, enabled=False)
NOT_FOUND = VmNotFound(Problem(type="", title="", status=404, code="vm_not_found", detail="Gone."))

REFUSED = Problem(type="", title="", status=409, code="invalid_state", detail="It is STOPPED.")


@dataclass
class SlowCloud:
    """A client with VMs, on a clock that pauses advance."""

    now: float = 0.0
    vms_by_id: dict[str, VM] = field(default_factory=dict)
    changes: dict[float, dict[str, VM | None]] = field(default_factory=dict)
    """The VMs that change at a time; None is a deletion."""

    refused: list[str] = field(default_factory=list)
    """The VMs that a bulk action refuses."""

    reads: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vms = SimpleNamespace(get=self._get, bulk=self._start_bulk, list=self._list)
        self.operations = SimpleNamespace(get=lambda _: SimpleNamespace(bulk=None, is_finished=0))
        self.deadline = Deadline(TIMEOUT_SECONDS, lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def add(self, count: int, **members: Any) -> list[VM]:
        """Add VMs."""
        vm = replace(VM.from_json(VM_DOCUMENT), task=None, **members)
        added = [replace(vm, id=f"id-{n}", name=f"web-{n}") for n in range(count)]
        self.vms_by_id |= {vm.id: vm for vm in added}
        return added

    def _get(self, vm: VM | str) -> VM:
        vm_id = vm if isinstance(vm, str) else vm.id
        self.deadline.limit(None, lambda: self.now)
        self.reads.append((self.now, vm_id))
        for time, changes in self.changes.items():
            if time <= self.now and vm_id in changes:
                changed = changes[vm_id]
                if changed is None:
                    raise NOT_FOUND
                self.vms_by_id[vm_id] = changed
        return self.vms_by_id[vm_id]

    def _list(self, **_: Any) -> list[VM]:
        self.deadline.limit(None, lambda: self.now)
        return list(self.vms_by_id.values())

    def _start_bulk(self, *_: Any, **__: Any) -> Any:
        self.deadline.limit(None, lambda: self.now)
        items = [SimpleNamespace(vm_id=vm_id, error=REFUSED) for vm_id in self.refused]
        return SimpleNamespace(operation_id="op-1", items=items)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Any:
    cloud = SlowCloud()
    monkeypatch.setattr(status_wait.time, "sleep", cloud.sleep)
    monkeypatch.setattr(bulk.time, "sleep", cloud.sleep)
    return cloud


def test_vms_are_waited_for_side_by_side_within_one_deadline(cloud: Any) -> None:
    vms = cloud.add(40, status="STOPPED")
    cloud.changes[5.0] = {"id-39": replace(vms[39], status="RUNNING")}
    results = StatusWait(cloud, "RUNNING", cloud.deadline, QUIET).run(vms)
    assert cloud.now <= TIMEOUT_SECONDS
    assert {vm_id for at, vm_id in cloud.reads if at == 0} == {vm.id for vm in vms}
    assert [result.exit_code for result in results] == [7] * 39 + [0]
    assert str(results[0].error) == "VM id-0 is STOPPED, and not RUNNING, after 10 s."


def test_vm_that_fails_or_is_deleted_ends_its_wait(cloud: Any) -> None:
    vms = cloud.add(3, status="STOPPED")
    cloud.changes[1.0] = {"id-0": replace(vms[0], status="ERROR"), "id-1": None}
    cloud.changes[2.0] = {"id-2": replace(vms[2], status="RUNNING")}
    failed, deleted, running = StatusWait(cloud, "RUNNING", cloud.deadline, QUIET).run(vms)
    assert isinstance(failed.error, VMFailed)
    assert deleted.error is NOT_FOUND
    assert running.vm is not None
    assert running.vm.status == "RUNNING"
    (again,) = StatusWait(cloud, "DELETED", cloud.deadline, QUIET).run([vms[1]])
    assert again.vm is not None
    assert again.vm.status == "DELETED"


def test_bulk_actions_of_a_command_have_one_deadline(cloud: Any) -> None:
    vms = cloud.add(2500, status="RUNNING")
    results = BulkAction(cloud, "stop", QUIET, cloud.deadline).run(vms, None)
    assert cloud.now <= TIMEOUT_SECONDS
    assert [result.exit_code for result in results] == [7] * 2500
    assert str(results[0].error).startswith("The operation has not finished within 10 s: see")


def test_refusal_of_a_bulk_action_is_no_timeout(
    cloud: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    vms = cloud.add(2, status="RUNNING")
    cloud.refused = ["id-1"]
    progress = Progress("stopping", 2, enabled=True)
    late, refused = BulkAction(cloud, "stop", progress, cloud.deadline).run(vms, None)
    assert (late.exit_code, refused.exit_code) == (7, 4)
    assert str(refused.error) == "It is STOPPED. (invalid_state)"
    assert "web-1: failed\n" in capsys.readouterr().err


def test_deadline_of_all_calls_limits_each_call() -> None:
    now = 0.0
    session = CallSession(Server("http://h"), Deadline(10, lambda: now), lambda: now)
    assert session.deadline(3).remaining == 3
    now = 8.0
    for timeout in (None, 3):
        deadline = session.deadline(timeout)
        assert (deadline.remaining, deadline.seconds) == (2, 10)
    now = 10.0
    with pytest.raises(DeadlineExceeded, match="The time of all calls together, 10 s, is spent"):
        session.deadline(3)
    now = 0.0
    with pytest.raises(ValueError, match="above 0"):
        session.deadline(0)


def test_timeout_of_a_command_begins_once_and_again_after_a_question() -> None:
    app = App({"url": "http://127.0.0.1:9", "timeout": Timeout().convert("5s", None, None)})
    with app.build_client() as first, app.build_client(600):
        deadline = app.deadline
        assert deadline is not None
        assert deadline.seconds == 5
        assert app.require_deadline(600) is deadline
        assert first is not None
    app.start_deadline()
    assert app.deadline is not deadline
    assert App().require_deadline(600).seconds == 600
