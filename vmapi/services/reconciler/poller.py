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
from vmapi.services.inventory.observer import Looks

log = structlog.get_logger("vmapi.poll")

OVERLAP = timedelta(seconds=2)
"""The cloud's times are whole seconds."""

SKEW = timedelta(seconds=60)
"""By how much our clock may differ from the cloud's, which is asked by its own from then on."""

SURE = 5.0
"""Seconds after which an operation is looked at whether its VM seems to have changed or not."""


AGAIN = 2.0
"""Seconds between two tries to send, or to find, what an operation could not; first at once."""

PAUSE = 2.0
"""Seconds for which a cloud that did not answer is left alone."""

Wait = tuple[str, str | None]
"""One step of an operation, by the cloud's id of its request."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An operation that can be carried on, and its VM as it was seen just now."""

    operation: Operation
    vm: VM | None = None


class Poll:
    """Remembers what it has seen of the VMs that operations wait for, since each began to.

    How a VM was before the present step was sent tells nothing of that step.
    """

    def __init__(self, looks: Looks, monotonic: Callable[[], float]) -> None:
        self._look = looks.changed
        self._monotonic = monotonic
        self._since: datetime | None = None
        self._seen: dict[Wait, VM] = {}
        self._looked: dict[str, float] = {}
        self._resume = -inf

    def ready(self, mine: Sequence[Operation]) -> list[Ready]:
        """Return the operations that can be carried on, or that were not looked at for long."""
        now = self._monotonic()
        self._looked = {
            each.id: self._looked.get(each.id, now if _waits(each) else -inf) for each in mine
        }
        waiting = [each for each in mine if _waits(each)]
        if waiting and now >= self._resume:
            self._ask(waiting, now)
        if not waiting:
            self._since = None
            self._seen.clear()
        if now < self._resume:
            return []
        return [found for each in mine if (found := self._ready(each, now)) is not None]

    def _ready(self, operation: Operation, now: float) -> Ready | None:
        waits = _waits(operation)
        vm = self._seen.get(_wait(operation)) if waits else None
        if vm is not None and vm.status is not Status.BUILDING and vm.task is None:
            return Ready(operation, vm)
        if now - self._looked[operation.id] < (SURE if waits else AGAIN):
            return None
        self._looked[operation.id] = now
        return Ready(operation)

    def _ask(self, waiting: Sequence[Operation], now: float) -> None:
        oldest = min(each.created_at for each in waiting) - SKEW
        try:
            changed = self._look(self._since or oldest)
        except StoreUnavailable:
            raise
        except VmapiError as error:
            log.warning("the cloud does not answer", reason=error.detail)
            self._resume = now + PAUSE
            return
        if changed:
            self._since = max(vm.updated_at for vm in changed) - OVERLAP
        vms = {vm.id: vm for vm in changed}
        waits = {_wait(each): each.vm_id for each in waiting}
        known = {wait: vm for wait, vm in self._seen.items() if wait in waits}
        self._seen = known | {wait: vms[id] for wait, id in waits.items() if id in vms}


def _wait(operation: Operation) -> Wait:
    return operation.id, operation.step.request_id if operation.step else None


def _waits(operation: Operation) -> bool:
    return operation.step is not None and operation.step.state is StepState.SENT
