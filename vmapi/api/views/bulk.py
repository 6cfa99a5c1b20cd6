"""/vms/actions: one action on many VMs."""

from typing import Any, ClassVar

from flask import Response
from marshmallow import (
    RAISE,
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
from vmapi.api.openapi.headers import IDEMPOTENCY_KEY_HEADER, IDEMPOTENT_REPLAYED_HEADER
from vmapi.api.problems.responses import problem_document
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.request.caller import current_caller
from vmapi.api.request.context import current_services
from vmapi.api.request.fingerprint import canonical_vm_id
from vmapi.api.schemas.fields import BoundedList, NulFreeString, described
from vmapi.api.schemas.operations import OperationSchema
from vmapi.api.schemas.vms import VMFilterSchema
from vmapi.domain.lifecycle import VM_ACTIONS, Action
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


class BulkRequestSchema(Schema):
    """An action and its VMs: either their ids or a filter."""

    EXACTLY_ONE_OF: ClassVar = {"ids": "BulkActionByIds", "filter": "BulkActionByFilter"}

    class Meta:
        unknown = RAISE

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
            raise ValidationError("Send either ids or filter.", "ids")
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
    """The results, one for each VM."""

    items = fields.List(fields.Nested(BulkItemSchema), required=True, **described("The results."))


@blp.post("/vms/actions")
@blp.requires(Permission.CHANGE)
@blp.arguments(BulkRequestSchema(), example={"action": "stop", "ids": [examples.VM_ID]})
@blp.response(
    202,
    BulkResponseSchema(),
    example={"items": [{"vm_id": examples.VM_ID, "operation": examples.OPERATION}]},
    headers=IDEMPOTENT_REPLAYED_HEADER,
    description="An operation or a problem for each VM",
)
@blp.request_headers(IDEMPOTENCY_KEY_HEADER)
@blp.problems(*IDEMPOTENCY_PROBLEMS, *BACKEND_PROBLEMS)
def act_on_vms(body: dict[str, Any]) -> Response:
    """Start, stop, restart, pause, resume or delete many VMs"""
    action, bulk = Action(body["action"]), current_services().bulk
    if "ids" in body:
        caller = current_caller({**body, "ids": [canonical_vm_id(vm_id) for vm_id in body["ids"]]})
        results = bulk.perform_by_ids(action, body["ids"], caller)
    else:
        results = bulk.perform_by_filter(action, body["filter"], current_caller(body))
    all_replayed = bool(results) and all(result.replayed for result in results)
    headers = {"Idempotent-Replayed": "true"} if all_replayed else {}
    items = [_item_document(result) for result in results]
    return responses.json_response({"items": items}, 202, headers)


def _item_document(result: BulkResult) -> dict[str, Any]:
    if result.error is not None:
        return {"vm_id": result.vm_id, "error": problem_document(result.error)}
    assert result.operation is not None
    operation = responses.operation_document(result.operation)
    item = {"vm_id": result.vm_id, "operation": operation}
    return {**item, "replayed": True} if result.replayed else item
