"""/events: a stream of changes (server-sent events, WHATWG HTML section 9.2)."""

import math
import time
from collections.abc import Iterator
from typing import Any

import orjson
import structlog
from flask import Flask, Response, current_app, request
from marshmallow import RAISE, Schema, fields, validate

from vmapi.api import responses
from vmapi.api.middleware.authentication import is_still_authenticated
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.headers import LAST_EVENT_ID_HEADER
from vmapi.api.request.caller import current_scope, current_user
from vmapi.api.request.client_connection import ClientConnection
from vmapi.api.request.context import current_services, request_state
from vmapi.api.schemas.fields import NulFreeString, QueryInteger, described
from vmapi.api.schemas.operations import OperationSchema
from vmapi.api.schemas.vms import VMSchema
from vmapi.domain.bulk import BulkSummary
from vmapi.domain.event import Event, EventKind, EventQuery
from vmapi.domain.operation import Operation
from vmapi.domain.roles import Permission
from vmapi.domain.timestamps import format_rfc3339
from vmapi.errors import StoreUnavailable
from vmapi.services.events.feed import Heartbeat, StreamMessage, StreamReset

blp = Blueprint("events", "Stream of changes")
log = structlog.get_logger("vmapi.events")

EVENT_STREAM_MEDIA_TYPE = "text/event-stream"
RESET_KIND = "events.reset"
MAX_STREAM_SECONDS = 86_400
"""The longest `wait` of a client, in seconds."""

MAX_STREAM_EVENTS = 10_000
"""The highest `limit` of a client."""

STREAM_PREAMBLE = b"retry: 3000\n\n"
"""The browser reconnects 3000 ms after the stream ends."""

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
    last_event_id = request.headers.get("Last-Event-ID") or query.get("last_event_id")
    subscription = current_services().events.subscribe(event_query, current_user(), last_event_id)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    authenticate = request_state().authenticate
    assert authenticate is not None
    connection = ClientConnection(request.environ)
    ends_at = time.monotonic() + query.get("wait", math.inf)

    def is_open() -> bool:
        in_time = time.monotonic() < ends_at
        return in_time and connection.is_connected() and is_still_authenticated(authenticate)

    messages = _first_events(subscription.stream(is_open), query.get("limit"))
    blocks = _stream_blocks(app, messages, connection)
    response = Response(blocks, headers=STREAM_HEADERS, mimetype=EVENT_STREAM_MEDIA_TYPE)
    response.call_on_close(subscription.close)
    return response


def _first_events(messages: Iterator[StreamMessage], limit: int | None) -> Iterator[StreamMessage]:
    """Yield messages until `limit` of them are events; all without a limit."""
    count = 0
    for message in messages:
        yield message
        count += not isinstance(message, Heartbeat)
        if count == limit:
            return


def _stream_blocks(
    app: Flask, messages: Iterator[StreamMessage], connection: ClientConnection
) -> Iterator[bytes]:
    yield STREAM_PREAMBLE
    try:
        for message in messages:
            if not connection.wait_writable():
                return
            # the request's own context has ended; a problem document needs operation URLs
            with app.app_context():
                block = _format_event(message)
            yield block
    except StoreUnavailable as error:
        # the client reconnects and continues after its last event
        log.warning("event stream ended, store unavailable", reason=error.detail)


def _format_event(message: StreamMessage) -> bytes:
    """Format one message; `id` is last, so that the client has the data when it stores the id."""
    if isinstance(message, Heartbeat):
        return b": heartbeat\nid: %d\n\n" % message.sequence
    data = orjson.dumps(_event_document(message))
    if isinstance(message, StreamReset):
        return b"event: %s\ndata: %s\n\n" % (RESET_KIND.encode(), data)
    return b"event: %s\ndata: %s\nid: %d\n\n" % (message.kind.encode(), data, message.sequence)


def _event_document(message: Event | StreamReset) -> dict[str, Any]:
    empty = dict.fromkeys(("id", "kind", "at", "vm_id", "vm", "operation"))
    if isinstance(message, StreamReset):
        return {**empty, "kind": RESET_KIND}
    return {
        "id": str(message.sequence),
        "kind": message.kind,
        "at": format_rfc3339(message.at),
        "vm_id": message.vm_id,
        "vm": message.vm and responses.vm_document(message.vm),
        "operation": message.operation and _operation_document(message.operation),
    }


def _operation_document(operation: Operation | BulkSummary) -> dict[str, Any]:
    if isinstance(operation, BulkSummary):
        return responses.bulk_summary_document(operation)
    return responses.operation_document(operation)
