"""/events: what happens, as it happens (server-sent events, WHATWG HTML section 9.2)."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import structlog
from flask import Flask, Response, current_app, request
from marshmallow import RAISE, Schema, fields, validate

from vmapi.api import responses as render
from vmapi.api.middleware import authentication as access
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.request.caller import current_scope, current_user
from vmapi.api.request.client_connection import ClientConnection
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import NulFreeString
from vmapi.api.schemas.vms import VMSchema
from vmapi.api.views.operations import OperationSchema
from vmapi.domain.event import Event, EventKind, EventQuery
from vmapi.domain.roles import Permission
from vmapi.errors import StoreUnavailable
from vmapi.services.events.feed import Heartbeat, StreamReset, Subscription

blp = Blueprint("events", "What happens, as it happens")
log = structlog.get_logger("vmapi.events")

EVENT_STREAM_MEDIA_TYPE = "text/event-stream"
RESET_KIND = "events.reset"
STREAM_PREAMBLE = b"retry: 3000\n\n"
"""After so many milliseconds a browser comes back."""

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

LAST_EVENT_ID_HEADER = {
    "in": "header",
    "name": "Last-Event-ID",
    "description": "The `id` of the last event that was seen: all that followed it is sent first.",
    "schema": {"type": "string"},
}


class EventSchema(Schema):
    """The `data` of one event; `vm` or `operation` is null."""

    id = fields.String(
        required=True, allow_none=True, metadata={"description": "for Last-Event-ID"}
    )
    kind = fields.String(required=True, validate=validate.OneOf([*map(str, EventKind), RESET_KIND]))
    at = fields.AwareDateTime(required=True, allow_none=True)
    vm_id = fields.UUID(required=True, allow_none=True)
    vm = fields.Nested(VMSchema, required=True, allow_none=True)
    operation = fields.Nested(OperationSchema, required=True, allow_none=True)


class EventQuerySchema(Schema):
    """Which events."""

    class Meta:
        unknown = RAISE

    vm_id = fields.List(
        NulFreeString(validate=validate.Length(1, 36)), metadata={"description": "repeatable"}
    )
    kind = fields.List(
        fields.Enum(EventKind, by_value=True), metadata={"description": "repeatable"}
    )
    last_event_id = NulFreeString(
        metadata={"description": "for who cannot send Last-Event-ID, which goes before it"}
    )


@blp.get("/events")
@blp.requires(Permission.READ)
@blp.takes(EventQuerySchema(), location="query")
@blp.request_headers(LAST_EVENT_ID_HEADER)
@blp.answers(
    200,
    EventSchema(),
    content_type=EVENT_STREAM_MEDIA_TYPE,
    example=examples.EVENT,
    description="Server-sent events without end. Each has an `id`, its kind as `event`, and as "
    "`data` a JSON object as described here. A heartbeat is a comment.",
)
@blp.problems("rate_limited", "store_unavailable")
def listen_to_events(query: dict[str, Any]) -> Response:
    """Listen to what happens

    To VMs (`vm.created`, `vm.changed`, `vm.deleted`) and operations (`operation.succeeded`,
    `operation.failed`, `operation.superseded`). `events.reset` says that it is not known what
    followed `Last-Event-ID`: everything that is kept follows.
    """
    wanted = EventQuery(
        project=current_scope(),
        vm_ids=frozenset(vm_id.lower() for vm_id in query.get("vm_id", ())),
        kinds=frozenset(query.get("kind", ())),
    )
    last = request.headers.get("Last-Event-ID") or query.get("last_event_id")
    listener = current_services().events.subscribe(wanted, current_user(), last)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    told = _stream_blocks(app, listener, ClientConnection(request.environ), access.watch())
    answer = Response(told, headers=STREAM_HEADERS, mimetype=EVENT_STREAM_MEDIA_TYPE)
    answer.call_on_close(listener.close)
    return answer


def _stream_blocks(
    app: Flask, listener: Subscription, connection: ClientConnection, is_let_in: Callable[[], bool]
) -> Iterator[bytes]:
    yield STREAM_PREAMBLE
    try:
        for told in listener.stream(lambda: connection.is_connected() and is_let_in()):
            if not connection.wait_writable():
                return
            # the request's own is gone by now; a problem names the paths of operations
            with app.app_context():
                block = _format_event(told)
            yield block
    except StoreUnavailable as away:
        # the client comes back, and goes on where it was
        log.warning("an event stream is ended", reason=away.detail)


def _format_event(told: Event | Heartbeat | StreamReset) -> bytes:
    """Render one message. The id comes last: who reads it has read the rest."""
    if isinstance(told, Heartbeat):
        return b": heartbeat\nid: %d\n\n" % told.sequence
    data = orjson.dumps(_event_document(told))
    if isinstance(told, StreamReset):
        return b"event: %s\ndata: %s\n\n" % (RESET_KIND.encode(), data)
    return b"event: %s\ndata: %s\nid: %d\n\n" % (told.kind.encode(), data, told.sequence)


def _event_document(told: Event | StreamReset) -> dict[str, Any]:
    empty = dict.fromkeys(("id", "kind", "at", "vm_id", "vm", "operation"))
    if isinstance(told, StreamReset):
        return {**empty, "kind": RESET_KIND}
    return {
        "id": str(told.sequence),
        "kind": told.kind,
        "at": render.format_timestamp(told.at),
        "vm_id": told.vm_id,
        "vm": told.vm and render.vm_document(told.vm),
        "operation": told.operation and render.operation_document(told.operation),
    }
