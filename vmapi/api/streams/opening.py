"""Open the event stream that a request asks for."""

import math
from collections.abc import Mapping
from typing import Any

from flask import Response, current_app, request

from vmapi.api.request.caller import current_scope, current_user
from vmapi.api.request.client_connection import ClientConnection
from vmapi.api.request.context import current_services, request_state
from vmapi.api.request.detached_body import accepts_detached_body
from vmapi.api.streams.event_format import StreamFormat
from vmapi.api.streams.event_stream import EventStream
from vmapi.domain.event import EventQuery

EVENT_STREAM_MEDIA_TYPE = "text/event-stream"

# X-Accel-Buffering: nginx must not buffer the stream
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def build_event_query(query: Mapping[str, Any]) -> EventQuery:
    """Return the query of the caller from the values that `EventQuerySchema` loads."""
    return EventQuery(
        project=current_scope(),
        vm_ids=frozenset(vm_id.lower() for vm_id in query.get("vm_id", ())),
        kinds=frozenset(query.get("kind", ())),
        selector=query.get("selector"),
    )


def open_stream(
    query: EventQuery,
    last_event_id: str | None,
    stream_format: StreamFormat,
    *,
    ends_at: float = math.inf,
    limit: int | None = None,
) -> Response:
    """Return the response with a stream. Raises RateLimited, StoreUnavailable.

    `ends_at` is a monotonic time in seconds, and `limit` a number of events.
    """
    feed = current_services().events
    is_detached = accepts_detached_body(request.environ)
    subscription = feed.subscribe(
        query, current_user(), last_event_id, holds_thread=not is_detached
    )
    authenticate = request_state().authenticate
    assert authenticate is not None
    stream = EventStream(
        current_app._get_current_object(),  # type: ignore[attr-defined]
        feed,
        subscription,
        stream_format,
        authenticate=authenticate,
        connection=None if is_detached else ClientConnection(request.environ),
        ends_at=ends_at,
        limit=limit,
    )
    return Response(stream, headers=STREAM_HEADERS, mimetype=EVENT_STREAM_MEDIA_TYPE)
