"""/vms/actions: one action on many VMs."""

from typing import Any

from flask import Response
from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate
from marshmallow import validates_schema as checks

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, IDEMPOTENCY_PROBLEMS, Blueprint
from vmapi.api.openapi.headers import IDEMPOTENCY_KEY_HEADER, IDEMPOTENT_REPLAYED_HEADER
from vmapi.api.problems import responses as problems
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.request.context import current_caller, current_services
from vmapi.api.schemas.fields import NulFreeString
from vmapi.api.schemas.vms import VMFilterSchema
from vmapi.api.views.operations import OperationSchema
from vmapi.domain.lifecycle import Action
from vmapi.domain.roles import Permission
from vmapi.domain.vm import VMQuery
from vmapi.services.vms.bulk import BulkResult

blp = Blueprint("bulk", "One action on many VMs")

MAX_BULK_IDS = 1000
BULK_ACTIONS = [each for each in Action if each not in (Action.CREATE, Action.UPDATE)]


class BulkFilterSchema(VMFilterSchema):
    """Which VMs: as in the list."""

    @post_load
    def _build_filter(self, data: dict[str, Any], **_: Any) -> VMQuery:
        return self.build_query(data)


class BulkRequestSchema(Schema):
    """An action, and the VMs it is for: their ids, or a filter."""

    class Meta:
        unknown = RAISE

    action = fields.String(required=True, validate=validate.OneOf(BULK_ACTIONS))
    ids = fields.List(
        NulFreeString(validate=validate.Length(1, 64)), validate=validate.Length(1, MAX_BULK_IDS)
    )
    filter = fields.Nested(BulkFilterSchema, metadata={"minProperties": 1})

    @checks
    def _check_selection(self, data: dict[str, Any], **_: Any) -> None:
        if ("ids" in data) == ("filter" in data):
            raise ValidationError("Either ids or filter is wanted.", "ids")
        if data.get("filter") == VMQuery():
            raise ValidationError('Name one at least; {"name": "*"} is every VM.', "filter")


class BulkItemSchema(Schema):
    """What came of the action for one VM."""

    vm_id = fields.String(required=True)
    operation = fields.Nested(OperationSchema)
    error = fields.Nested(ProblemSchema)
    replayed = fields.Boolean(
        metadata={"description": "true where the operation is an earlier request's"}
    )


class BulkResponseSchema(Schema):
    """What came of it, VM by VM."""

    items = fields.List(fields.Nested(BulkItemSchema), required=True)


@blp.post("/vms/actions")
@blp.requires(Permission.CHANGE)
@blp.takes(BulkRequestSchema(), example={"action": "stop", "ids": [examples.VM_ID]})
@blp.answers(
    202,
    BulkResponseSchema(),
    example={"items": [{"vm_id": examples.VM_ID, "operation": examples.OPERATION}]},
    headers=IDEMPOTENT_REPLAYED_HEADER,
    description="Under way: an operation or a problem for each VM",
)
@blp.request_headers(IDEMPOTENCY_KEY_HEADER)
@blp.problems(*IDEMPOTENCY_PROBLEMS, *BACKEND_PROBLEMS)
def act_on_vms(wanted: dict[str, Any]) -> Response:
    """Start, stop, restart, pause, resume or delete many VMs"""
    action, bulk = Action(wanted["action"]), current_services().bulk
    if "ids" in wanted:
        items = bulk.perform_by_ids(action, wanted["ids"], current_caller())
    else:
        items = bulk.perform_by_filter(action, wanted["filter"], current_caller())
    replayed = bool(items) and all(item.replayed for item in items)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return render.json_response({"items": [_item_document(item) for item in items]}, 202, headers)


def _item_document(item: BulkResult) -> dict[str, Any]:
    if item.error is not None:
        return {"vm_id": item.vm_id, "error": problems.problem_document(item.error)}
    assert item.operation is not None
    shown = {"vm_id": item.vm_id, "operation": render.operation_document(item.operation)}
    return {**shown, "replayed": True} if item.replayed else shown
