"""The results of a subscription as server-sent events.

Source: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md, distinct connections mode.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from graphql import DocumentNode, parse

from vmapi.api.graphql.documents.requests import GraphQLRequest
from vmapi.api.graphql.execution import build_response
from vmapi.api.graphql.schema import build_schema
from vmapi.api.graphql.state import ExecutionState
from vmapi.api.graphql.types.events import ResetEvent
from vmapi.domain.event import Event

MAX_CACHED_SUBSCRIPTIONS = 256
MAX_CACHED_SUBSCRIPTION_CHARS = 1000
"""A longer document is parsed for each event. A parsed one of this length takes 100 kilobytes."""


@dataclass(frozen=True, slots=True)
class EventResults:
    """The format of a subscription: the result of its document for each event."""

    query: str
    operation_name: str | None
    variables: str
    """The values of the variables as JSON: a format is the key of shared bytes."""

    introspection: bool
    is_slow = True

    def format_reset(self) -> bytes:
        """Format the event of a gap."""
        return format_result(self._execute(ResetEvent()))

    def format_event(self, event: Event) -> bytes:
        """Format an event."""
        return format_result(self._execute(event), b"id: %d\n" % event.sequence)

    def _execute(self, event: Event | ResetEvent) -> dict[str, Any]:
        # the first execution, which has set the source, has validated the document
        result = build_schema(introspection=self.introspection, is_caching=False).execute_document(
            _parse(self.query),
            variable_values=json.loads(self.variables),
            root_value=event,
            context_value=ExecutionState(),
            operation_name=self.operation_name,
        )
        return build_response(result)[0]


@lru_cache(MAX_CACHED_SUBSCRIPTIONS)
def _parse_short(query: str) -> DocumentNode:
    return parse(query)


def _parse(query: str) -> DocumentNode:
    return _parse_short(query) if len(query) <= MAX_CACHED_SUBSCRIPTION_CHARS else parse(query)


def build_event_results(request: GraphQLRequest, *, introspection: bool) -> EventResults:
    """Return the format of a subscription."""
    # unlike orjson, json has integers of any size
    variables = json.dumps(request.variables, sort_keys=True)
    return EventResults(request.query, request.operation_name, variables, introspection)


def format_result(result: dict[str, Any], id_field: bytes = b"") -> bytes:
    """Format a result; `id_field` is the last field of the event."""
    return b"event: next\ndata: %s\n%s\n" % (orjson.dumps(result), id_field)


def format_only_result(result: dict[str, Any]) -> bytes:
    """Format the stream of a query or a mutation: one result and the end."""
    return format_result(result) + b"event: complete\ndata: \n\n"
