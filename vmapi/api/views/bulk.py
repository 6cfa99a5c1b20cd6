"""/vms/actions: one action on many VMs."""

from typing import Any

from flask import Response

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, IDEMPOTENCY_PROBLEMS, Blueprint
from vmapi.api.openapi.headers import CHANGE_HEADERS
from vmapi.api.request.caller import current_caller
from vmapi.api.request.context import current_services, operation_url
from vmapi.api.request.fingerprint import canonical_vm_id
from vmapi.api.request.headers import preference_applied
from vmapi.api.schemas.bulk import BulkRequestSchema, BulkResponseSchema
from vmapi.domain.access.roles import Permission
from vmapi.domain.bulk import BulkItem
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationStatus
from vmapi.services.vms.bulk import BulkResult

blp = Blueprint("bulk", "One action on many VMs")


FINISHED_EXAMPLE = {
    "operation_id": examples.BULK_ID,
    "status": OperationStatus.SUCCEEDED,
    "counts": examples.BULK_COUNTS,
    "items": [{"vm_id": examples.VM_ID, "operation": examples.OPERATION}],
}
RUNNING_EXAMPLE = {
    **FINISHED_EXAMPLE,
    "status": OperationStatus.RUNNING,
    "counts": {**examples.BULK_COUNTS, "running": 1, "succeeded": 0},
    "items": [{"vm_id": examples.VM_ID, "operation": examples.RUNNING_OPERATION}],
}


@blp.post("/vms/actions")
@blp.requires(Permission.CHANGE)
@blp.arguments(BulkRequestSchema(), example={"action": "stop", "ids": [examples.VM_ID]})
@blp.response(
    200,
    BulkResponseSchema(),
    example=FINISHED_EXAMPLE,
    headers=CHANGE_HEADERS,
    description="Every operation is finished",
)
@blp.alt_response(
    202,
    BulkResponseSchema(),
    example=RUNNING_EXAMPLE,
    headers=[*CHANGE_HEADERS, "Retry-After"],
    description="An operation or a problem for each VM; operations are in progress",
)
@blp.request_headers("Idempotency-Key", "Prefer")
@blp.problems(*IDEMPOTENCY_PROBLEMS, *BACKEND_PROBLEMS)
def act_on_vms(body: dict[str, Any]) -> Response:
    """Start, stop, restart, pause, resume or delete many VMs

    The VMs share one bulk operation, `Operation-Location`. It is finished when all are.
    """
    action, bulk = Action(body["action"]), current_services().bulk
    if "ids" in body:
        caller = current_caller({**body, "ids": [canonical_vm_id(vm_id) for vm_id in body["ids"]]})
        result = bulk.perform_by_ids(action, body["ids"], caller)
    else:
        result = bulk.perform_by_filter(action, body["filter"], current_caller(body))
    return _bulk_response(result)


def _bulk_response(result: BulkResult) -> Response:
    bulk = result.bulk
    summary = bulk.summarize()
    headers = {"Operation-Location": operation_url(bulk.id)}
    headers |= preference_applied(finished=bulk.is_finished)
    if result.replayed:
        headers["Idempotent-Replayed"] = "true"
    body = {
        "operation_id": bulk.id,
        "status": summary.status,
        "counts": dict(summary.counts),
        "items": [_item_document(result, item) for item in bulk.items],
    }
    if not bulk.items:
        body["detail"] = responses.NO_VM_SELECTED_DETAIL
    if bulk.is_finished:
        return responses.json_response(body, 200, headers)
    headers["Retry-After"] = responses.CHANGE_RETRY_AFTER
    return responses.json_response(body, 202, headers)


def _item_document(result: BulkResult, item: BulkItem) -> dict[str, Any]:
    if item.error is not None:
        return {"vm_id": item.vm_id, "error": responses.error_document(item.error, item.vm_id)}
    document: dict[str, Any] = {"vm_id": item.vm_id}
    # the retention of operations may be shorter than the life of the key
    if operation := result.bulk.operations.get(item.operation_id or ""):
        document["operation"] = responses.operation_document(operation)
    return {**document, "replayed": True} if result.replayed else document
