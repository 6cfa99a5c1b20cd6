"""/vms/actions: one action on many VMs."""

from typing import Any, ClassVar

from flask import Response
from marshmallow import (
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, IDEMPOTENCY_PROBLEMS, Blueprint
from vmapi.api.openapi.headers import (
    IDEMPOTENCY_KEY_HEADER,
    PREFER_HEADER,
    RETRY_AFTER_HEADER,
)
from vmapi.api.openapi.vm_blueprint import CHANGE_HEADERS
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.request.caller import current_caller
from vmapi.api.request.context import current_services, operation_url
from vmapi.api.request.fingerprint import canonical_vm_id
from vmapi.api.request.preferences import preference_applied
from vmapi.api.schemas.fields import BodySchema, BoundedList, NulFreeString, described
from vmapi.api.schemas.operations import BulkCountsSchema, OperationSchema
from vmapi.api.schemas.vms import VMFilterSchema
from vmapi.domain.bulk import BulkItem
from vmapi.domain.lifecycle import VM_ACTIONS, Action
from vmapi.domain.operation import OperationStatus
from vmapi.domain.roles import Permission
from vmapi.domain.vm import VMQuery
from vmapi.services.vms.bulk import BulkResult

blp = Blueprint("bulk", "One action on many VMs")

MAX_BULK_IDS = 1000


class BulkFilterSchema(VMFilterSchema):
    """A filter of VMs, as in the list of VMs."""

    @post_load
    def _build_filter(self, data: dict[str, Any], **_: Any) -> VMQuery:
        return self.build_query(data)


class BulkRequestSchema(BodySchema):
    """An action and its VMs: either their ids or a filter."""

    EXACTLY_ONE_OF: ClassVar = {"ids": "BulkActionByIds", "filter": "BulkActionByFilter"}

    action = fields.String(
        required=True,
        validate=validate.OneOf(VM_ACTIONS),
        **described("The action.", enum_name="VMAction"),
    )
    ids = BoundedList(
        NulFreeString(validate=validate.Length(1, 64)),
        min_length=1,
        max_length=MAX_BULK_IDS,
        **described("Ids of the VMs."),
    )
    filter = fields.Nested(
        BulkFilterSchema,
        metadata={"minProperties": 1, "description": 'Filter; `{"name": "*"}` selects every VM.'},
    )

    @validates_schema
    def _check_selection(self, data: dict[str, Any], **_: Any) -> None:
        if ("ids" in data) == ("filter" in data):
            raise ValidationError("Send exactly one of ids and filter.", "ids")
        if data.get("filter") == VMQuery():
            raise ValidationError(
                'Send at least one filter; {"name": "*"} selects every VM.', "filter"
            )


class BulkItemSchema(Schema):
    """The result for one VM: an operation or a problem."""

    EXACTLY_ONE_OF: ClassVar = {"operation": "BulkAccepted", "error": "BulkRefused"}

    vm_id = fields.String(required=True, **described("Id of the VM."))
    operation = fields.Nested(OperationSchema, **described("The accepted operation."))
    error = fields.Nested(ProblemSchema, **described("The problem that refused the action."))
    replayed = fields.Boolean(
        **described("True if an earlier request with the same key started the operation.")
    )


class BulkResponseSchema(Schema):
    """A bulk operation and the results, one for each VM."""

    operation_id = fields.UUID(required=True, **described("Id of the bulk operation."))
    status = fields.Enum(
        OperationStatus,
        by_value=True,
        required=True,
        **described("Progress of the whole.", enum_name="OperationStatus"),
    )
    counts = fields.Nested(
        BulkCountsSchema, required=True, **described("Number of VMs by outcome.")
    )
    items = fields.List(fields.Nested(BulkItemSchema), required=True, **described("The results."))


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
    headers={**CHANGE_HEADERS, **RETRY_AFTER_HEADER},
    description="An operation or a problem for each VM; operations are in progress",
)
@blp.request_headers(IDEMPOTENCY_KEY_HEADER, PREFER_HEADER)
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
