"""Schemas of events: the data of one, and the query of a stream."""

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from vmapi.api.schemas.fields import (
    BoundedList,
    NulFreeString,
    QueryInteger,
    SelectorField,
    described,
)
from vmapi.api.schemas.operations import OperationSchema
from vmapi.api.schemas.vms import VMSchema
from vmapi.domain.event import RESET_KIND, VM_EVENT_KINDS, EventKind

MAX_STREAM_SECONDS = 86_400
"""The longest `wait` of a client, in seconds."""

MAX_STREAM_EVENTS = 10_000
"""The highest `limit` of a client."""

MAX_VM_FILTERS = 1000
"""The most ids of VMs in a filter."""

MAX_KIND_FILTERS = 64
"""The most kinds in a filter, with repetitions."""


class EventSchema(Schema):
    """The `data` of one event, about a VM or an operation."""

    id = fields.String(
        required=True,
        allow_none=True,
        **described("Id of the event, for `Last-Event-ID`; null for `events.reset`."),
    )
    kind = fields.String(
        required=True,
        validate=validate.OneOf([*map(str, EventKind), RESET_KIND]),
        **described("Kind of the event.", enum_name="EventKind"),
    )
    at = fields.AwareDateTime(
        required=True, allow_none=True, **described("Time of the event; null for `events.reset`.")
    )
    vm_id = fields.UUID(
        required=True, allow_none=True, **described("Id of the VM; null without one.")
    )
    vm = fields.Nested(
        VMSchema, required=True, allow_none=True, **described("The VM, for an event about a VM.")
    )
    operation = fields.Nested(
        OperationSchema,
        required=True,
        allow_none=True,
        **described("The operation, for an event about an operation."),
    )


class EventQuerySchema(Schema):
    """Filters of the stream and its start."""

    class Meta:
        unknown = RAISE

    vm_id = BoundedList(
        NulFreeString(validate=validate.Length(1, 36)),
        min_length=1,
        max_length=MAX_VM_FILTERS,
        **described("Id of a VM; repeat the parameter for several."),
    )
    kind = BoundedList(
        fields.Enum(EventKind, by_value=True, metadata={"enum_name": "EventKindFilter"}),
        min_length=1,
        max_length=MAX_KIND_FILTERS,
        **described("Kind of event; repeat the parameter for several."),
    )
    selector = SelectorField(
        **described("Conditions on the metadata of the VM; only events about VMs pass.")
    )
    last_event_id = NulFreeString(
        **described("For clients that cannot send `Last-Event-ID`; the header takes precedence.")
    )
    wait = QueryInteger(
        minimum=1,
        maximum=MAX_STREAM_SECONDS,
        **described("Seconds after which the stream ends. Without it, the stream is endless."),
    )
    limit = QueryInteger(
        minimum=1,
        maximum=MAX_STREAM_EVENTS,
        **described("Number of events after which the stream ends."),
    )

    @validates_schema
    def _check_kinds(self, data: dict[str, Any], **_: Any) -> None:
        kinds = data.get("kind")
        if "selector" in data and kinds and VM_EVENT_KINDS.isdisjoint(kinds):
            raise ValidationError(
                "A selector selects events of VMs, not of operations.", "selector"
            )
