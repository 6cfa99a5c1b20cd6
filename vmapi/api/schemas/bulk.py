"""Schemas of bulk actions: the request, and the results for its VMs."""

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.schemas.fields import BodySchema, BoundedList, NulFreeString, described
from vmapi.api.schemas.operations import BulkCountsSchema, OperationSchema
from vmapi.api.schemas.vms import VMFilterSchema
from vmapi.domain.lifecycle import VM_ACTIONS
from vmapi.domain.operation import OperationStatus
from vmapi.domain.vm import VMQuery

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
    detail = fields.String(**described("States that the filter selects no VM."))
