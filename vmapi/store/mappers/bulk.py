"""Map bulk operations to rows and back, and to the rows of their events."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from vmapi.domain.bulk import BulkItem, BulkOperation
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationError
from vmapi.store.mappers.operation import key_from_row, key_to_row


def to_row(bulk: BulkOperation) -> dict[str, Any]:
    """Return the row of a bulk operation."""
    return {
        "id": bulk.id,
        "action": bulk.action,
        "items": [asdict(item) for item in bulk.items],
        "created_at": bulk.created_at,
        "requested_by": bulk.requested_by,
        "request_id": bulk.request_id,
        "project": bulk.project,
        **key_to_row(bulk.key),
    }


def from_row(row: Row[Any], operations: Mapping[str, Operation]) -> BulkOperation:
    """Return the bulk operation of a row, with the operations of its VMs by id."""
    return BulkOperation(
        id=row.id,
        action=Action(row.action),
        items=tuple([_item_from_json(**item) for item in row.items]),
        created_at=row.created_at,
        requested_by=row.requested_by,
        request_id=row.request_id,
        project=row.project,
        key=key_from_row(row),
        operations=operations,
    )


def _item_from_json(
    *, vm_id: str, operation_id: str | None, error: dict[str, Any] | None
) -> BulkItem:
    return BulkItem(vm_id, operation_id, OperationError(**error) if error else None)
