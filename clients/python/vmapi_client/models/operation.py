"""Operations: the records of changes, and of actions on many VMs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vmapi_client.models.model import Model
from vmapi_client.models.problem import Problem

OperationStatus = Literal["pending", "running", "succeeded", "failed", "superseded"]

OperationAction = Literal[
    "create", "start", "stop", "restart", "pause", "resume", "update", "delete"
]

UNFINISHED_STATUSES = ("pending", "running")


@dataclass(frozen=True, kw_only=True)
class BulkCounts(Model):
    """The number of VMs of a bulk action by outcome."""

    pending: int
    running: int
    succeeded: int
    failed: int
    superseded: int
    refused: int


@dataclass(frozen=True, kw_only=True)
class BulkPart(Model):
    """The outcome for one VM of a bulk operation: its operation, or the error of its refusal."""

    vm_id: str
    operation_id: str | None = None
    status: str | None = None
    error: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Bulk(Model):
    """The VMs of a bulk operation. Events have no `items`."""

    counts: BulkCounts
    items: tuple[BulkPart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation(Model):
    """The record of one change and its outcome."""

    id: str
    action: str
    vm_id: str | None
    status: str
    error: Problem | None
    requested_by: str
    request_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    bulk_id: str | None
    bulk: Bulk | None

    @property
    def is_finished(self) -> bool:
        """Whether the operation has succeeded, failed or been superseded."""
        return self.status not in UNFINISHED_STATUSES


@dataclass(frozen=True, kw_only=True)
class BulkItem(Model):
    """The result for one VM of a bulk action: its operation, or the error of its refusal."""

    vm_id: str
    operation: Operation | None = None
    error: Problem | None = None
    replayed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class BulkResult(Model):
    """A bulk operation with the results of its VMs."""

    operation_id: str
    status: str
    counts: BulkCounts
    items: tuple[BulkItem, ...]
    detail: str | None = None
