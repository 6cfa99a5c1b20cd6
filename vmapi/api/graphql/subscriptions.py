"""The subscription of the schema: the events of `/events`.

The library executes a document twice here. The first execution, without an event, checks the
arguments and sets the source of the stream. Then each event is the root value of one execution.
"""

from typing import Any

import strawberry
from flask import request

from vmapi.api.graphql.state import EventSource, ExecutionState
from vmapi.api.graphql.types.events import EVENT_FILTER, EventType, ResetEvent
from vmapi.api.graphql.types.inputs import EventFilter, load_arguments, to_members
from vmapi.api.streams.opening import build_event_query
from vmapi.domain.event import Event


@strawberry.type(description="Streams, as server-sent events by the protocol of graphql-sse.")
class Subscription:
    """The subscriptions of the schema."""

    @strawberry.field(
        description="The events from now on, or after `lastEventId`.",
        graphql_type=EventType | None,
    )
    @staticmethod
    def events(
        root: strawberry.Parent[Any],
        info: strawberry.Info[ExecutionState],
        filter: EventFilter | None = None,
        last_event_id: str | None = None,
    ) -> Any:
        """Return the event of this execution; set the source in the execution without one."""
        if isinstance(root, Event | ResetEvent):
            return root
        members = to_members(filter)
        if last_event_id is not None:
            members["last_event_id"] = last_event_id
        query = load_arguments(EVENT_FILTER, members)
        last = request.headers.get("Last-Event-ID") or last_event_id
        info.context.event_source = EventSource(build_event_query(query), last)
        return None
