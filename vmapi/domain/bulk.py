"""Bulk operations: one action on many VMs, with an operation or a refusal for each.

A bulk operation never changes. Its status follows from the operations of its VMs.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationError, OperationStatus

REFUSED = "refused"
"""The outcome of a VM without an operation."""

BULK_OUTCOMES = (*map(str, OperationStatus), REFUSED)
BULK_INCOMPLETE = "bulk_incomplete"
"""The error code of a bulk operation that did not change every VM."""


@dataclass(frozen=True, slots=True)
class BulkItem:
    """The result for one VM: the id of its operation, or the error that refused the action."""

    vm_id: str
    operation_id: str | None = None
    error: OperationError | None = None


@dataclass(frozen=True, slots=True)
class BulkSummary:
    """A bulk operation without its items: what its event contains."""

    id: str
    action: Action
    status: OperationStatus
    counts: Mapping[str, int]
    """The number of VMs by outcome, one of `BULK_OUTCOMES`."""
    error: OperationError | None
    requested_by: str
    request_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """One action on many VMs, as the database holds it, with the operations of its VMs."""

    id: str
    action: Action
    items: tuple[BulkItem, ...]
    created_at: datetime
    requested_by: str
    request_id: str
    project: str
    """The project of the caller and of all its VMs; "" for VMs of other projects."""
    key: IdempotencyKey | None = None
    operations: Mapping[str, Operation] = field(default_factory=dict)
    """The operations of the VMs, by id."""

    @property
    def is_finished(self) -> bool:
        """Whether all operations are finished."""
        return all(operation.is_finished for operation in self.operations.values())

    def summarize(self) -> BulkSummary:
        """Return the status, the times and the counts."""
        counts = self._count_outcomes()
        started = [at for operation in self.operations.values() if (at := operation.started_at)]
        finished = [at for operation in self.operations.values() if (at := operation.finished_at)]
        status, error = OperationStatus.RUNNING, None
        if self.is_finished:
            error = self._incomplete_error(counts)
            status = OperationStatus.FAILED if error else OperationStatus.SUCCEEDED
        return BulkSummary(
            id=self.id,
            action=self.action,
            status=status,
            counts=counts,
            error=error,
            requested_by=self.requested_by,
            request_id=self.request_id,
            created_at=self.created_at,
            started_at=min(started, default=None),
            finished_at=max(finished, default=self.created_at) if self.is_finished else None,
        )

    def _count_outcomes(self) -> Mapping[str, int]:
        refused = sum(item.error is not None for item in self.items)
        counts = Counter(str(operation.status) for operation in self.operations.values())
        return {**dict.fromkeys(BULK_OUTCOMES, 0), **counts, REFUSED: refused}

    def _incomplete_error(self, counts: Mapping[str, int]) -> OperationError | None:
        unchanged = sum(counts.values()) - counts[OperationStatus.SUCCEEDED]
        if not unchanged:
            return None
        outcomes = (OperationStatus.FAILED, OperationStatus.SUPERSEDED, REFUSED)
        reasons = ", ".join(f"{counts[name]} {name}" for name in outcomes if counts[name])
        detail = f"{unchanged} of {len(self.items)} VMs were not changed: {reasons}."
        return OperationError(BULK_INCOMPLETE, detail)
