"""Schemas of operations in responses and of their list query."""

from typing import Any, ClassVar

from marshmallow import Schema, fields, post_load, validate

from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.request.caller import current_project, current_user
from vmapi.api.schemas.fields import NulFreeString, described
from vmapi.api.schemas.pagination import PageQuerySchema, PageSchema
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest

MAX_STORED_KEY_CHARS = 300
"""A stored key is the client's key; a bulk request appends a separator and the id of the VM."""


class BulkCountsSchema(Schema):
    """The number of VMs of a bulk action by outcome."""

    pending = fields.Integer(required=True, **described("Operations that have not begun."))
    running = fields.Integer(required=True, **described("Operations in progress."))
    succeeded = fields.Integer(required=True, **described("Operations that succeeded."))
    failed = fields.Integer(required=True, **described("Operations that failed."))
    superseded = fields.Integer(required=True, **described("Operations that a delete ended."))
    refused = fields.Integer(required=True, **described("VMs without an operation."))


class BulkPartSchema(Schema):
    """The outcome for one VM of a bulk action: its operation, or a problem."""

    EXACTLY_ONE_OF: ClassVar = {"operation_id": "BulkPartAccepted", "error": "BulkPartRefused"}

    vm_id = fields.String(required=True, **described("Id of the VM."))
    operation_id = fields.UUID(**described("Id of the operation."))
    status = fields.Enum(
        OperationStatus,
        by_value=True,
        **described("Progress of the operation.", enum_name="OperationStatus"),
    )
    error = fields.Nested(ProblemSchema, **described("The problem that refused the action."))


class BulkSchema(Schema):
    """The VMs of a bulk action."""

    counts = fields.Nested(
        BulkCountsSchema, required=True, **described("Number of VMs by outcome.")
    )
    items = fields.List(
        fields.Nested(BulkPartSchema),
        **described("The outcome for each VM; absent in events."),
    )


class OperationSchema(Schema):
    """A change of a VM, or a bulk action: its caller, progress and error."""

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
        **described("Id of the VM; null until the cloud accepts a create, and for a bulk action."),
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
    bulk_id = fields.UUID(
        required=True,
        allow_none=True,
        **described("Id of the bulk operation that this one is part of; null without one."),
    )
    bulk = fields.Nested(
        BulkSchema,
        required=True,
        allow_none=True,
        **described("The VMs of a bulk action; null for the change of one VM."),
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
    request_id = NulFreeString(
        validate=validate.Length(1, 255),
        **described("`X-Request-ID` of the request; those of a bulk action share it."),
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
