"""One action on many VMs: a bulk operation, followed until its end."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from vmapi_client.cli.changes import Result
from vmapi_client.cli.progress import Progress
from vmapi_client.core.deadline import Deadline, growing_pauses
from vmapi_client.core.replies import build_operation_error
from vmapi_client.errors import DeadlineExceeded, ResponseTimeout, VmapiError, VmNotFound
from vmapi_client.models.operation import UNFINISHED_STATUSES

if TYPE_CHECKING:
    from vmapi_client.models import VM, Action, BulkPart
    from vmapi_client.sync.client import Client

BULK_SIZE = 1000
MANY_VMS = 20
"""The number of VMs from which a list is cheaper than single reads."""

FIRST_POLL_SECONDS = 0.2
LONGEST_POLL_SECONDS = 2.0

Outcomes = dict[str, "VmapiError | None"]


class BulkAction:
    """Performs an action on VMs. With a deadline it follows the operations until their end."""

    def __init__(
        self, client: "Client", action: "Action", progress: Progress, deadline: Deadline | None
    ) -> None:
        self._client = client
        self._action = action
        self._progress = progress
        self._deadline = deadline

    def run(self, vms: Sequence["VM"], key: str | None) -> list[Result]:
        """Perform the action on up to 1,000 VMs at a time, and return the results in order."""
        results: list[Result] = []
        with self._progress:
            for start in range(0, len(vms), BULK_SIZE):
                part = {vm.id: vm for vm in vms[start : start + BULK_SIZE]}
                part_key = key if key is None or start == 0 else f"{key} {start}"
                try:
                    outcomes = self._send(part, part_key)
                except VmapiError as error:
                    if not results:
                        raise
                    # the results of the parts before count
                    outcomes = dict.fromkeys(part, error)
                results += self._refresh(part, outcomes)
        return results

    def _send(self, vms: Mapping[str, "VM"], key: str | None) -> Outcomes:
        bulk = self._client.vms.bulk(self._action, list(vms), idempotency_key=key)
        refused: Outcomes = {
            item.vm_id: build_operation_error(item.error) for item in bulk.items if item.error
        }
        for vm_id in refused:
            self._progress.report(vms[vm_id].name, "failed")
        if self._deadline is None:
            return refused
        accepted = {vm_id: vm for vm_id, vm in vms.items() if vm_id not in refused}
        return refused | self._follow(bulk.operation_id, accepted, self._deadline)

    def _follow(self, operation_id: str, vms: Mapping[str, "VM"], deadline: Deadline) -> Outcomes:
        """Read the bulk operation until it is finished, or until the deadline."""
        outcomes: Outcomes = {}
        with suppress(DeadlineExceeded, ResponseTimeout):
            for pause in growing_pauses(FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS):
                operation = self._client.operations.get(operation_id)
                parts = operation.bulk.items if operation.bulk else ()
                for part in parts:
                    if part.operation_id and part.vm_id not in outcomes:
                        self._read_part(part, vms, outcomes)
                if operation.is_finished:
                    return outcomes
                if pause >= deadline.remaining:
                    break
                time.sleep(pause)
        late = DeadlineExceeded(
            f"The operation has not finished within {deadline.seconds:g} s: see 'vmctl operation "
            f"show {operation_id}'."
        )
        return {**dict.fromkeys(vms, late), **outcomes}

    def _read_part(self, part: "BulkPart", vms: Mapping[str, "VM"], outcomes: Outcomes) -> None:
        if part.status in UNFINISHED_STATUSES or part.operation_id is None:
            return
        error: VmapiError | None = None
        if part.status != "succeeded":
            operation = self._client.operations.get(part.operation_id)
            error = VmapiError(f"The {operation.action} ended: {operation.status}.")
            if operation.error is not None:
                error = build_operation_error(operation.error, operation.request_id)
        outcomes[part.vm_id] = error
        self._progress.report(vms[part.vm_id].name, "failed" if error else "done")

    def _refresh(self, vms: Mapping[str, "VM"], outcomes: Outcomes) -> list[Result]:
        """Read the changed VMs again; a deleted VM has the status DELETED."""
        changed = [vm_id for vm_id in vms if outcomes.get(vm_id) is None]
        is_known = self._action == "delete" and self._deadline is not None
        current: dict[str, VM] = {}
        try:
            current = {} if is_known else self._read(changed)
        except VmapiError as error:
            # the action has succeeded, and the state after it is unknown
            outcomes = {**outcomes, **dict.fromkeys(changed, error)}
        return [
            Result(vm.name, current.get(vm_id) or as_deleted(vm), outcomes.get(vm_id))
            for vm_id, vm in vms.items()
        ]

    def _read(self, vm_ids: Sequence[str]) -> dict[str, "VM"]:
        """Read VMs: many from lists, up to a page after which few are missing."""
        found: dict[str, VM] = {}
        if len(vm_ids) > MANY_VMS:
            expected = set(vm_ids)
            # after a wait, the changed VMs come first, and stay there
            listed = self._client.vms.list(
                sort="-created_at" if self._deadline is None else "-updated_at",
                page_size=BULK_SIZE,
            )
            for count, vm in enumerate(listed, 1):
                found |= {vm.id: vm} if vm.id in expected else {}
                few = MANY_VMS if count % BULK_SIZE == 0 else 0
                if len(expected) - len(found) <= few:
                    break
        missing = [vm_id for vm_id in vm_ids if vm_id not in found]
        if len(missing) <= MANY_VMS:
            read = (self._find(vm_id) for vm_id in missing)
            found |= {vm.id: vm for vm in read if vm is not None}
        return found

    def _find(self, vm_id: str) -> "VM | None":
        try:
            return self._client.vms.get(vm_id)
        except VmNotFound:
            return None


def as_deleted(vm: "VM") -> "VM":
    """Return a VM as it is after its deletion."""
    return replace(vm, status="DELETED", task=None, allowed_actions=())
