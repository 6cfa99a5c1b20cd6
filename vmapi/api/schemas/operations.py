"""Schemas of operations in responses and of their list query."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.request.caller import current_project, current_user
from vmapi.api.schemas.fields import NulFreeString, described
from vmapi.api.schemas.pagination import PageQuerySchema, PageSchema
from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest

MAX_STORED_KEY_CHARS = 300
"""A stored key is the client's key; a bulk request appends a space and the id of the VM."""


class OperationSchema(Schema):
    """A change of a VM: its caller, progress and error."""

    id = fields.UUID(required=True, **described("Id of the operation."))
    action = fields.Enum(
        Action,
        by_value=True,
        required=True,
        **described("The change.", enum_name="OperationAction"),
    )
    vm_id = fields.UUID(
        required=True,
        allow_none=True,
        **described("Id of the VM; null until the cloud accepts a create."),
    )
    status = fields.Enum(
        OperationStatus,
        by_value=True,
        required=True,
        **described("Progress of the operation.", enum_name="OperationStatus"),
    )
    error = fields.Nested(
        ProblemSchema,
        required=True,
        allow_none=True,
        **described("Problem that ended the operation; null without one."),
    )
    requested_by = fields.String(required=True, **described("User that sent the request."))
    request_id = fields.String(required=True, **described("Id of the request."))
    created_at = fields.AwareDateTime(required=True, **described("Time of the request."))
    started_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        **described("Time of the first call to the cloud; null before it."),
    )
    finished_at = fields.AwareDateTime(
        required=True, allow_none=True, **described("Time of the end; null before it.")
    )


class OperationListSchema(PageSchema):
    """One page of operations, the newest first."""

    items = fields.List(
        fields.Nested(OperationSchema), required=True, **described("The operations.")
    )


class OperationQuerySchema(PageQuerySchema):
    """Filters and pagination of a list of operations."""

    vm_id = NulFreeString(validate=validate.Length(1, 36), **described("Id of the VM."))
    action = fields.Enum(
        Action, by_value=True, **described("The change.", enum_name="OperationAction")
    )
    status = fields.Enum(
        OperationStatus,
        by_value=True,
        **described("Progress of the operation.", enum_name="OperationStatus"),
    )
    idempotency_key = NulFreeString(
        validate=validate.Length(1, MAX_STORED_KEY_CHARS),
        **described("Idempotency-Key of the caller's request; `KEY VM_ID` for a bulk request."),
    )

    @post_load
    def _build_list_query(
        self, data: dict[str, Any], **_: Any
    ) -> tuple[OperationQuery, PageRequest]:
        page_request = self.pop_page_request(data)
        if "vm_id" in data:
            data["vm_id"] = data["vm_id"].lower()
        text = data.pop("idempotency_key", None)
        key = IdempotencyKey(current_user(), text, "", current_project()) if text else None
        return OperationQuery(key=key, **data), page_request
