"""Events in the schema: those of a stream, and pages of stored ones.

The cursor of an event is its id, which also resumes a stream.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import strawberry

from vmapi.api.graphql.types.connections import FIRST_DETAIL, PageInfo
from vmapi.api.graphql.types.enums import StreamedKind
from vmapi.api.graphql.types.inputs import EventFilter, argument_error, load_arguments, to_members
from vmapi.api.graphql.types.objects import OperationType, to_operation_node
from vmapi.api.graphql.types.vms import VMType
from vmapi.api.request.context import current_services
from vmapi.api.schemas.events import EventQuerySchema
from vmapi.api.streams.opening import build_event_query
from vmapi.domain.event import RESET_KIND, Event
from vmapi.domain.pagination import MAX_PAGE_SIZE
from vmapi.services.events.feed import EventPage

EVENT_FILTER = EventQuerySchema()
UNKNOWN_EVENT_DETAIL = "This event is not stored, so some events may be lost. Start without it."


@dataclass(frozen=True, slots=True)
class ResetEvent:
    """The event of a gap: the events after the client's last one are purged."""

    kind: str = RESET_KIND
    sequence: None = None
    at: None = None
    vm_id: None = None
    vm: None = None
    operation: None = None


@strawberry.type(name="Event", description="A change of a VM, or the end of an operation.")
class EventType:
    """An event, from `vmapi.domain.event`."""

    at: datetime | None
    vm_id: strawberry.ID | None
    vm: VMType | None

    @strawberry.field(description="Id of the event, for `lastEventId`; null for `EVENTS_RESET`.")
    @staticmethod
    def id(root: strawberry.Parent[Any]) -> strawberry.ID | None:
        """Return the id of the event."""
        return None if root.sequence is None else strawberry.ID(str(root.sequence))

    @strawberry.field(description="Kind of the event.", graphql_type=StreamedKind)
    @staticmethod
    def kind(root: strawberry.Parent[Any]) -> Any:
        """Return the kind of the event."""
        return StreamedKind(root.kind)

    @strawberry.field(
        description="The operation, for an event about an operation.",
        graphql_type=OperationType | None,
    )
    @staticmethod
    def operation(root: strawberry.Parent[Any]) -> Any:
        """Return the operation of the event."""
        return root.operation and to_operation_node(root.operation)


@strawberry.type(description="An event of a page.")
class EventEdge:
    """An event of a page."""

    node: EventType

    @strawberry.field(description="Id of the event, for `after` and `lastEventId`.")
    @staticmethod
    def cursor(root: strawberry.Parent[Any]) -> str:
        """Return the cursor of the event."""
        return str(root.node.sequence)


@dataclass(frozen=True, slots=True)
class Edge:
    """An event of a page."""

    node: Event


@strawberry.type(description="A page of stored events.")
class EventConnection:
    """A page of stored events."""

    @strawberry.field(description="The events, the oldest first.", graphql_type=list[EventEdge])
    @staticmethod
    def edges(root: strawberry.Parent[Any]) -> Any:
        """Return the edges of the page."""
        return [Edge(event) for event in root.events]

    @strawberry.field(description="The events, the oldest first.", graphql_type=list[EventType])
    @staticmethod
    def nodes(root: strawberry.Parent[Any]) -> Any:
        """Return the events of the page."""
        return root.events

    @strawberry.field(
        description="The position of the page. Later events follow `endCursor`, also without any "
        "event in the page."
    )
    @staticmethod
    def page_info(root: strawberry.Parent[Any]) -> PageInfo:
        """Return the position of the page."""
        page: EventPage = root
        return PageInfo(
            has_next_page=page.has_more,
            has_previous_page=page.is_continued,
            start_cursor=str(page.events[0].sequence) if page.events else None,
            end_cursor=str(page.last) if page.last else None,
        )


def read_event_page(first: int, after: str | None, filter: EventFilter | None) -> EventPage:
    """Return a page of stored events. Raises ValidationFailed."""
    if not 1 <= first <= MAX_PAGE_SIZE:
        raise argument_error("first", FIRST_DETAIL)
    query = build_event_query(load_arguments(EVENT_FILTER, to_members(filter)))
    page = current_services().events.read_page(query, after, first)
    if page is None:
        raise argument_error("after", UNKNOWN_EVENT_DETAIL)
    return page
