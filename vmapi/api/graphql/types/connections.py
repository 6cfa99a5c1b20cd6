"""Pages of lists as Relay connections, on the cursors of the REST lists.

A cursor is valid for one list, project and filter, and expires as the cursors of the REST API.
Source: https://relay.dev/graphql/connections.htm
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import strawberry

from vmapi.api.graphql.types.inputs import argument_error
from vmapi.api.graphql.types.objects import OperationType
from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_services
from vmapi.domain.pagination import MAX_PAGE_SIZE, KeysetPosition, Page, PageRequest
from vmapi.services.cursors import Cursor, InvalidCursor

QueryParams = Mapping[str, Sequence[str]]
OTHER_FILTER_DETAIL = "The cursor belongs to other filters, or to another order. Repeat them."
FIRST_DETAIL = f"Must be 1 to {MAX_PAGE_SIZE}."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConnectionPage(Generic[T]):
    """A page with the name of its list and of its sort column."""

    page: Page[T]
    list_name: str
    sort_column: str
    filters: QueryParams
    """The filters and the order as query parameters of the REST list."""

    def encode_cursor(self, item: Any) -> str:
        """Return the cursor of an item."""
        value = getattr(item, self.sort_column)
        position = KeysetPosition(value, item.id, self.page.total)
        cursor = Cursor(self.filters, position)
        return current_services().cursors.encode(_cursor_scope(self.list_name), cursor)


@dataclass(frozen=True, slots=True)
class Edge(Generic[T]):
    """An item of a page."""

    node: T
    connection: ConnectionPage[T]


def build_page_request(
    list_name: str, first: int, after: str | None, filters: QueryParams
) -> PageRequest:
    """Return the page that `first` and `after` name. Raises ValidationFailed."""
    if not 1 <= first <= MAX_PAGE_SIZE:
        raise argument_error("first", FIRST_DETAIL)
    # a page of VMs is cached with its parameters, which the REST list needs for its links
    query_params = {**filters, "page_size": [str(first)]}
    if after is None:
        return PageRequest(1, first, query_params=query_params)
    try:
        cursor = current_services().cursors.decode(_cursor_scope(list_name), after)
    except InvalidCursor as error:
        raise argument_error("after", f"{error} Start again without it.") from None
    if cursor.query_params != filters:
        raise argument_error("after", OTHER_FILTER_DETAIL)
    return PageRequest(1, first, cursor.position, query_params, cursor.expires_at)


def _cursor_scope(list_name: str) -> str:
    return f"graphql.{list_name} {current_scope() or '*'}"


@strawberry.type(description="The position of a page in its list.")
class PageInfo:
    """The position of a page in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class BaseEdge:
    """The fields of an edge without its node."""

    @strawberry.field(description="Cursor of the item, for `after`.")
    @staticmethod
    def cursor(root: strawberry.Parent[Any]) -> str:
        """Return the cursor of the item."""
        edge: Edge[Any] = root
        return edge.connection.encode_cursor(edge.node)


@strawberry.type
class BaseConnection:
    """The fields of a connection without its items."""

    @strawberry.field(description="Number of items in the whole list.")
    @staticmethod
    def total_count(root: strawberry.Parent[Any]) -> int:
        """Return the number of items in the whole list."""
        connection: ConnectionPage[Any] = root
        return connection.page.total

    @strawberry.field(description="The position of the page.")
    @staticmethod
    def page_info(root: strawberry.Parent[Any]) -> PageInfo:
        """Return the position of the page."""
        connection: ConnectionPage[Any] = root
        page = connection.page
        return PageInfo(
            has_next_page=page.next_position is not None,
            has_previous_page=page.request.after is not None,
            start_cursor=connection.encode_cursor(page.items[0]) if page.items else None,
            end_cursor=connection.encode_cursor(page.items[-1]) if page.items else None,
        )


def list_edges(root: strawberry.Parent[Any]) -> list[Any]:
    """Return the edges of a connection."""
    return [Edge(item, root) for item in root.page.items]


def list_nodes(root: strawberry.Parent[Any]) -> list[Any]:
    """Return the items of a connection."""
    return list(root.page.items)


@strawberry.type(description="An operation of a page.")
class OperationEdge(BaseEdge):
    """An operation of a page."""

    node: OperationType


@strawberry.type(description="A page of operations.")
class OperationConnection(BaseConnection):
    """A page of operations."""

    edges: list[OperationEdge] = strawberry.field(resolver=list_edges)
    nodes: list[OperationType] = strawberry.field(resolver=list_nodes)
