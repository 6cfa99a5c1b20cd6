"""Which operations are worth a look now: one question to the cloud serves all that wait for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

import structlog

from vmapi.domain.lifecycle import Status
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.vm import VM
from vmapi.errors import StoreUnavailable, VmapiError
from vmapi.services.inventory.observer import CloudObserver

log = structlog.get_logger("vmapi.poll")

OPERATION_POLL_OVERLAP = timedelta(seconds=2)
"""The cloud's times are whole seconds."""

MAX_INITIAL_CLOCK_SKEW = timedelta(seconds=60)
"""By how much our clock may differ from the cloud's, which is asked by its own from then on."""

MAX_UNCHECKED_SECONDS = 5.0
"""Seconds after which an operation is looked at whether its VM seems to have changed or not."""


OPERATION_RETRY_INTERVAL = 2.0
"""Seconds between two tries to send, or to find, what an operation could not; first at once."""

OPERATION_POLL_BACKOFF = 2.0
"""Seconds for which a cloud that did not answer is left alone."""

StepKey = tuple[str, str | None]
"""One step of an operation, by the cloud's id of its request."""


@dataclass(frozen=True, slots=True)
class DueOperation:
    """An operation that can be carried on, and its VM as it was seen just now."""

    operation: Operation
    vm: VM | None = None


class OperationPoller:
    """Remembers what it has seen of the VMs that operations wait for, since each began to.

    How a VM was before the present step was sent tells nothing of that step.
    """

    def __init__(self, observer: CloudObserver, monotonic: Callable[[], float]) -> None:
        self._fetch_changed = observer.fetch_changed
        self._monotonic = monotonic
        self._since: datetime | None = None
        self._observed_vms: dict[StepKey, VM] = {}
        self._checked_at: dict[str, float] = {}
        self._resume_at = -inf

    def list_due(self, operations: Sequence[Operation]) -> list[DueOperation]:
        """Return the operations that can be carried on, or that were not looked at for long."""
        now = self._monotonic()
        self._checked_at = {
            each.id: self._checked_at.get(each.id, now if _is_waiting(each) else -inf)
            for each in operations
        }
        waiting = [each for each in operations if _is_waiting(each)]
        if waiting and now >= self._resume_at:
            self._poll_changes(waiting, now)
        if not waiting:
            self._since = None
            self._observed_vms.clear()
        if now < self._resume_at:
            return []
        return [found for each in operations if (found := self._check_due(each, now)) is not None]

    def _check_due(self, operation: Operation, now: float) -> DueOperation | None:
        waits = _is_waiting(operation)
        vm = self._observed_vms.get(_step_key(operation)) if waits else None
        if vm is not None and vm.status is not Status.BUILDING and vm.task is None:
            return DueOperation(operation, vm)
        if now - self._checked_at[operation.id] < (
            MAX_UNCHECKED_SECONDS if waits else OPERATION_RETRY_INTERVAL
        ):
            return None
        self._checked_at[operation.id] = now
        return DueOperation(operation)

    def _poll_changes(self, waiting: Sequence[Operation], now: float) -> None:
        oldest = min(each.created_at for each in waiting) - MAX_INITIAL_CLOCK_SKEW
        try:
            changed = self._fetch_changed(self._since or oldest)
        except StoreUnavailable:
            raise
        except VmapiError as error:
            log.warning("the cloud does not answer", reason=error.detail)
            self._resume_at = now + OPERATION_POLL_BACKOFF
            return
        if changed:
            self._since = max(vm.updated_at for vm in changed) - OPERATION_POLL_OVERLAP
        vms = {vm.id: vm for vm in changed}
        waits = {_step_key(each): each.vm_id for each in waiting}
        known = {wait: vm for wait, vm in self._observed_vms.items() if wait in waits}
        self._observed_vms = known | {wait: vms[id] for wait, id in waits.items() if id in vms}


def _step_key(operation: Operation) -> StepKey:
    return operation.id, operation.step.request_id if operation.step else None


def _is_waiting(operation: Operation) -> bool:
    return operation.step is not None and operation.step.state is StepState.ACCEPTED
