"""The reads of vmctl after an action on many VMs, in a large inventory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from tests.support.http_client import WAIT_SECONDS
from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client import VM, Deadline
from vmapi_client.cli.bulk import BULK_SIZE, MANY_VMS, BulkAction
from vmapi_client.cli.progress import Progress
from vmapi_client.errors import VmNotFound
from vmapi_client.models import Problem

OTHERS = 3 * BULK_SIZE
NOT_FOUND = Problem(
    type="/problems/vm_not_found",
    title="VM not found",
    status=404,
    code="vm_not_found",
    detail="There is no such VM.",
)


def build_vms(count: int, status: Any = "RUNNING") -> list[VM]:
    vm = VM.from_json(VM_DOCUMENT)
    return [replace(vm, id=str(uuid4()), status=status) for _ in range(count)]


@dataclass
class Inventory:
    """A client of a server with many VMs, which counts the VMs that it reads."""

    listed: Sequence[VM]
    singles: dict[str, VM] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    listed_count: int = 0
    sort: str = ""

    @property
    def client(self) -> Any:
        vms = SimpleNamespace(list=self._list, get=self._get, bulk=self._start)
        return SimpleNamespace(vms=vms, operations=SimpleNamespace(get=self._follow))

    def _start(self, _action: str, vms: Sequence[str], **_: Any) -> Any:
        self._changed = vms
        return SimpleNamespace(operation_id="bulk-1", items=())

    def _follow(self, _operation_id: str) -> Any:
        parts = [
            SimpleNamespace(vm_id=vm_id, operation_id=vm_id, status="succeeded")
            for vm_id in self._changed
        ]
        return SimpleNamespace(is_finished=True, bulk=SimpleNamespace(items=parts))

    def _list(self, *, sort: str, page_size: int) -> Iterator[VM]:
        self.sort = sort
        for start in range(0, len(self.listed), page_size):
            page = self.listed[start : start + page_size]
            self.listed_count += len(page)
            yield from page

    def _get(self, vm_id: str) -> VM:
        self.reads.append(vm_id)
        if vm_id not in self.singles:
            raise VmNotFound(NOT_FOUND)
        return self.singles[vm_id]


def run_bulk(inventory: Inventory, action: Any, vms: Sequence[VM], *, wait: bool) -> list[Any]:
    deadline = Deadline(WAIT_SECONDS) if wait else None
    progress = Progress("stopping", len(vms), enabled=False)
    results = BulkAction(inventory.client, action, progress, deadline).run(vms, "key")
    assert [result.error for result in results] == [None] * len(vms)
    return [result.vm for result in results]


def test_changed_vms_are_on_the_first_page() -> None:
    vms = build_vms(10 * MANY_VMS)
    stopped = [replace(vm, status="STOPPED") for vm in vms]
    inventory = Inventory([*reversed(stopped), *build_vms(OTHERS)])
    assert run_bulk(inventory, "stop", vms, wait=True) == stopped
    assert (inventory.sort, inventory.listed_count) == ("-updated_at", BULK_SIZE)
    assert inventory.reads == []


def test_few_missing_vms_are_read_singly() -> None:
    vms = build_vms(10 * MANY_VMS)
    stopped = [replace(vm, status="STOPPED") for vm in vms]
    late, early = stopped[:MANY_VMS], stopped[MANY_VMS:]
    inventory = Inventory([*early, *build_vms(OTHERS), *late], {vm.id: vm for vm in late})
    assert run_bulk(inventory, "stop", vms, wait=True) == stopped
    assert inventory.listed_count == BULK_SIZE
    assert inventory.reads == [vm.id for vm in late]


@pytest.mark.parametrize("count", [2, 10 * MANY_VMS])
def test_deleted_vms_are_not_read(count: int) -> None:
    inventory = Inventory(build_vms(OTHERS))
    deleted = run_bulk(inventory, "delete", build_vms(count), wait=True)
    assert {vm.status for vm in deleted} == {"DELETED"}
    assert (inventory.listed_count, inventory.reads) == (0, [])


def test_vms_in_no_list_are_deleted() -> None:
    inventory = Inventory(build_vms(OTHERS))
    deleted = run_bulk(inventory, "delete", build_vms(10 * MANY_VMS), wait=False)
    assert {vm.status for vm in deleted} == {"DELETED"}
    assert (inventory.sort, inventory.listed_count) == ("-created_at", OTHERS)
    assert inventory.reads == []
