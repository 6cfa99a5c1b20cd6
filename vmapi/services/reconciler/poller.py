"""Select the operations that are due: one changes-since poll serves all that wait for the cloud.

The engine calls `list_due` in each tick, from one thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

import structlog

from vmapi.domain.lifecycle import Status
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.vm import VM
from vmapi.errors import StoreUnavailable, VmapiError
from vmapi.services.inventory.failure_log import FailureCounter
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.timeouts import throttled_seconds
from vmapi.telemetry.operator_text import operator_text

log = structlog.get_logger("vmapi.poll")

OPERATION_POLL_OVERLAP = timedelta(seconds=2)
"""How far two polls overlap: Nova's timestamps are whole seconds."""

MAX_INITIAL_CLOCK_SKEW = timedelta(seconds=60)
"""The first poll starts this much early. Later polls use the timestamps of the cloud itself."""

MAX_UNCHECKED_SECONDS = 5.0
"""A waiting operation is due after this time even if no poll has reported its VM."""

OPERATION_RETRY_INTERVAL = 2.0
"""Seconds between two attempts to dispatch or recover a step. The first one is immediate."""

OPERATION_POLL_BACKOFF = 2.0
"""Seconds without a poll after a failed one."""

StepKey = tuple[str, str | None]
"""The id of an operation and the request id of its present step."""

CheckKey = tuple[str, datetime | None]
"""The id of an operation and the time of the last retry that an operator has requested."""

FailureRecorder = Callable[[Sequence[Operation], VmapiError], object]
"""Records why an attempt to check operations failed."""


@dataclass(frozen=True, slots=True)
class DueOperation:
    """An operation to reconcile, and its VM if the poll has reported it."""

    operation: Operation
    vm: VM | None = None


class OperationPoller:
    """Caches the VMs that the polls report, by the step that waits for them.

    An observation for one step is not used for the next: it predates the dispatch.
    """

    def __init__(
        self,
        observer: CloudObserver,
        monotonic: Callable[[], float],
        record_failure: FailureRecorder = lambda *_: None,
    ) -> None:
        self._fetch_changed = observer.fetch_changed
        self._record_failure = record_failure
        self._monotonic = monotonic
        self._failures = FailureCounter(monotonic)
        self._since: datetime | None = None
        self._observed_vms: dict[StepKey, VM] = {}
        self._checked_at: dict[CheckKey, float] = {}
        self._resume_at = -inf
        self._next_poll_at = -inf

    def list_due(self, operations: Sequence[Operation]) -> list[DueOperation]:
        """Return the operations with a settled VM or with a check that is due."""
        now = self._monotonic()
        self._checked_at = {
            key: self._checked_at.get(key, -inf if _is_due_at_once(operation) else now)
            for operation in operations
            for key in [_check_key(operation)]
        }
        waiting = [operation for operation in operations if _is_waiting(operation)]
        if waiting and now >= max(self._resume_at, self._next_poll_at):
            self._poll_changes(waiting, now)
        if not waiting:
            self._failures.end_outage()
            self._since = None
            self._observed_vms.clear()
        if now < self._resume_at:
            return []
        checked = (self._check_due(operation, now) for operation in operations)
        return [due for due in checked if due is not None]

    def _check_due(self, operation: Operation, now: float) -> DueOperation | None:
        is_waiting = _is_waiting(operation)
        vm = self._observed_vms.get(_step_key(operation)) if is_waiting else None
        if vm is not None and vm.status is not Status.BUILDING and vm.task is None:
            return DueOperation(operation, vm)
        interval = MAX_UNCHECKED_SECONDS if is_waiting else OPERATION_RETRY_INTERVAL
        if now - self._checked_at[_check_key(operation)] < interval:
            return None
        self._checked_at[_check_key(operation)] = now
        return DueOperation(operation)

    def _poll_changes(self, waiting: Sequence[Operation], now: float) -> None:
        oldest = min(operation.created_at for operation in waiting) - MAX_INITIAL_CLOCK_SKEW
        try:
            changed = self._fetch_changed(self._since or oldest)
        except StoreUnavailable:
            raise
        except VmapiError as error:
            self._log_failure(error)
            pause = max(OPERATION_POLL_BACKOFF, throttled_seconds(error))
            self._resume_at = now + pause
            self._record_failure(waiting, error)
            return
        except Exception:
            # a defect of vmapi: each operation is still checked at its own interval
            log.exception("operation poll failed, will retry")
            self._next_poll_at = now + OPERATION_POLL_BACKOFF
            return
        self._failures.end_outage()
        if changed:
            self._since = max(vm.updated_at for vm in changed) - OPERATION_POLL_OVERLAP
        vms = {vm.id: vm for vm in changed}
        vm_ids = {_step_key(operation): operation.vm_id for operation in waiting}
        observed = {key: vm for key, vm in self._observed_vms.items() if key in vm_ids}
        self._observed_vms = observed | {key: vms[id] for key, id in vm_ids.items() if id in vms}

    def _log_failure(self, error: VmapiError) -> None:
        failures = self._failures.count_failure()
        if failures is not None:
            reason = operator_text(error)
            log.warning("operation poll failed, will retry", reason=reason, failures=failures)


def _step_key(operation: Operation) -> StepKey:
    return operation.id, operation.step.request_id if operation.step else None


def _check_key(operation: Operation) -> CheckKey:
    return operation.id, operation.retry_requested_at


def _is_due_at_once(operation: Operation) -> bool:
    """Return whether the first check of an operation must not wait for a poll of its VM."""
    return not _is_waiting(operation) or operation.retry_requested_at is not None


def _is_waiting(operation: Operation) -> bool:
    return operation.step is not None and operation.step.state is StepState.ACCEPTED
