"""/events: a stream of changes (server-sent events, WHATWG HTML section 9.2)."""

import math
import time
from typing import Any

from flask import Response, current_app, request
from marshmallow import RAISE, Schema, fields, validate

from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.headers import LAST_EVENT_ID_HEADER
from vmapi.api.request.caller import current_scope, current_user
from vmapi.api.request.client_connection import ClientConnection
from vmapi.api.request.context import current_services, request_state
from vmapi.api.request.detached_body import accepts_detached_body
from vmapi.api.schemas.fields import NulFreeString, QueryInteger, described
from vmapi.api.schemas.operations import OperationSchema
from vmapi.api.schemas.vms import VMSchema
from vmapi.api.streams.event_format import RESET_KIND
from vmapi.api.streams.event_stream import EventStream
from vmapi.domain.event import EventKind, EventQuery
from vmapi.domain.roles import Permission

blp = Blueprint("events", "Stream of changes")

EVENT_STREAM_MEDIA_TYPE = "text/event-stream"
MAX_STREAM_SECONDS = 86_400
"""The longest `wait` of a client, in seconds."""

MAX_STREAM_EVENTS = 10_000
"""The highest `limit` of a client."""

# X-Accel-Buffering: nginx must not buffer the stream
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


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

    vm_id = fields.List(
        NulFreeString(validate=validate.Length(1, 36)),
        **described("Id of a VM; repeat the parameter for several."),
    )
    kind = fields.List(
        fields.Enum(EventKind, by_value=True, metadata={"enum_name": "EventKindFilter"}),
        **described("Kind of event; repeat the parameter for several."),
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


@blp.get("/events")
@blp.requires(Permission.READ)
@blp.arguments(EventQuerySchema(), location="query")
@blp.request_headers(LAST_EVENT_ID_HEADER)
@blp.response(
    200,
    # generators type the stream by this schema of its `data`
    EventSchema(),
    content_type=EVENT_STREAM_MEDIA_TYPE,
    example=examples.EVENT,
    description="A stream of server-sent events, endless without `wait` and `limit`. `id` and "
    "`event` repeat the id and the kind; `data` is this JSON object. A heartbeat is a comment.",
)
@blp.problems("rate_limited", "store_unavailable")
def listen_to_events(query: dict[str, Any]) -> Response:
    """Listen to events

    Events about VMs are `vm.created`, `vm.changed` and `vm.deleted`. Events about operations are
    `operation.succeeded`, `operation.failed` and `operation.superseded`. `events.reset` means that
    the events after `Last-Event-ID` are lost; all stored events follow it.
    """
    event_query = EventQuery(
        project=current_scope(),
        vm_ids=frozenset(vm_id.lower() for vm_id in query.get("vm_id", ())),
        kinds=frozenset(query.get("kind", ())),
    )
    feed = current_services().events
    is_detached = accepts_detached_body(request.environ)
    subscription = feed.subscribe(
        event_query,
        current_user(),
        request.headers.get("Last-Event-ID") or query.get("last_event_id"),
        holds_thread=not is_detached,
    )
    authenticate = request_state().authenticate
    assert authenticate is not None
    stream = EventStream(
        current_app._get_current_object(),  # type: ignore[attr-defined]
        feed,
        subscription,
        authenticate=authenticate,
        connection=None if is_detached else ClientConnection(request.environ),
        ends_at=time.monotonic() + query.get("wait", math.inf),
        limit=query.get("limit"),
    )
    return Response(stream, headers=STREAM_HEADERS, mimetype=EVENT_STREAM_MEDIA_TYPE)
