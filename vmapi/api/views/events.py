"""/events: a stream of changes (server-sent events, WHATWG HTML section 9.2)."""

import math
import time
from typing import Any

from flask import Response, request

from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.schemas.events import EventQuerySchema, EventSchema
from vmapi.api.streams.event_format import EventJson
from vmapi.api.streams.opening import EVENT_STREAM_MEDIA_TYPE, build_event_query, open_stream
from vmapi.domain.access.roles import Permission

blp = Blueprint("events", "Stream of changes")


@blp.get("/events")
@blp.requires(Permission.READ)
@blp.arguments(EventQuerySchema(), location="query")
@blp.request_headers("Last-Event-ID")
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
    return open_stream(
        build_event_query(query),
        request.headers.get("Last-Event-ID") or query.get("last_event_id"),
        EventJson(),
        ends_at=time.monotonic() + query.get("wait", math.inf),
        limit=query.get("limit"),
    )
