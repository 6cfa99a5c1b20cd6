"""/operations: what was asked for, and how it went."""

from typing import Any

from flask import Response
from marshmallow import Schema, fields, post_load, validate

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.headers import LINK_HEADER, PREFER_HEADER, PREFERENCE_APPLIED_HEADER
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.request.caller import current_project, current_scope, current_user
from vmapi.api.request.context import current_services, preference_applied, preferred_wait
from vmapi.api.schemas.fields import NulFreeString
from vmapi.api.schemas.pagination import PageQuerySchema, PageSchema
from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.domain.roles import Permission

MAX_STORED_KEY_CHARS = 300
"""What is kept: a client's key, and in a bulk request the id of a VM behind it."""

blp = Blueprint("operations", "What was asked for, and how it went")


class OperationSchema(Schema):
    """One change: who asked, how far it is, why it failed."""

    id = fields.UUID(required=True)
    action = fields.Enum(Action, by_value=True, required=True)
    vm_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "null until a create has one"}
    )
    status = fields.Enum(OperationStatus, by_value=True, required=True)
    error = fields.Nested(ProblemSchema, required=True, allow_none=True)
    requested_by = fields.String(required=True)
    request_id = fields.String(required=True)
    created_at = fields.AwareDateTime(required=True)
    started_at = fields.AwareDateTime(required=True, allow_none=True)
    finished_at = fields.AwareDateTime(required=True, allow_none=True)


class OperationListSchema(PageSchema):
    """A page of operations, the newest first."""

    items = fields.List(fields.Nested(OperationSchema), required=True)


class OperationQuerySchema(PageQuerySchema):
    """Which operations."""

    vm_id = NulFreeString(validate=validate.Length(1, 36))
    action = fields.Enum(Action, by_value=True)
    status = fields.Enum(OperationStatus, by_value=True)
    idempotency_key = NulFreeString(
        validate=validate.Length(1, MAX_STORED_KEY_CHARS),
        metadata={"description": "in a bulk request that of a VM is `KEY VM_ID`"},
    )

    @post_load
    def _build_list_query(
        self, data: dict[str, Any], **_: Any
    ) -> tuple[OperationQuery, PageRequest]:
        paging = self.pop_page_request(data)
        if "vm_id" in data:
            data["vm_id"] = data["vm_id"].lower()
        key = data.pop("idempotency_key", None)
        mine = IdempotencyKey(current_user(), key, "", current_project()) if key else None
        return OperationQuery(key=mine, **data), paging


@blp.get("/operations")
@blp.requires(Permission.READ)
@blp.takes(OperationQuerySchema(), location="query")
@blp.answers(200, OperationListSchema(), example=examples.OPERATION_LIST, headers=LINK_HEADER)
@blp.problems("store_unavailable")
def list_operations(query: tuple[OperationQuery, PageRequest]) -> Response:
    """List operations"""
    page = current_services().operations.list(*query, current_scope())
    return render.page_response(page, [render.operation_document(found) for found in page.items])


@blp.get("/operations/<operation_id>")
@blp.requires(Permission.READ)
@blp.request_headers(PREFER_HEADER)
@blp.answers(200, OperationSchema(), example=examples.OPERATION, headers=PREFERENCE_APPLIED_HEADER)
@blp.problems("operation_not_found", "store_unavailable")
def get_operation(operation_id: str) -> Response:
    """Show an operation"""
    found = current_services().operations.get(
        operation_id, current_scope(), current_user(), preferred_wait()
    )
    return render.json_response(
        render.operation_document(found), headers=preference_applied(settled=found.is_finished)
    )
