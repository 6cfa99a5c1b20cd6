"""Read a GraphQL request from the body or from the query string.

Source: https://graphql.github.io/graphql-over-http/draft/, section 5.
"""

from dataclasses import dataclass
from typing import Any

from flask import Request

from vmapi.api.middleware.rate_limits import SAFE_METHODS
from vmapi.api.request.body import parse_json, read_body, read_json
from vmapi.api.streams.opening import EVENT_STREAM_MEDIA_TYPE
from vmapi.errors import MalformedRequest

NO_QUERY_DETAIL = 'query must be a GraphQL document, as in {"query": "{ vms { totalCount } }"}.'
MEMBERS = ("query", "operationName", "variables", "extensions")


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """A document, the name of its operation and the values of its variables."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]
    is_read_only: bool
    """Whether the method allows no changes (GET, HEAD)."""

    wants_stream: bool
    """Whether the client accepts a stream of results."""


def wants_stream(request: Request) -> bool:
    """Return whether the client prefers server-sent events."""
    types = ["application/json", EVENT_STREAM_MEDIA_TYPE]
    return request.accept_mimetypes.best_match(types) == EVENT_STREAM_MEDIA_TYPE


def read_request(request: Request) -> GraphQLRequest:
    """Return the request. Raises MalformedRequest, UnsupportedMediaType."""
    is_read_only = request.method in SAFE_METHODS
    return _build(
        _read_query_string(request) if is_read_only else _read_members(request),
        is_read_only=is_read_only,
        wants_stream=wants_stream(request),
    )


def _read_members(request: Request) -> dict[str, Any]:
    body = read_body(request)
    if not body:
        raise MalformedRequest('The body is empty. Send {"query": "…"}.')
    members = read_json(request, body)
    if isinstance(members, list):
        raise MalformedRequest("vmapi accepts no batch: send one GraphQL request in a body.")
    if not isinstance(members, dict):
        raise MalformedRequest("The body must be a JSON object.")
    return members


def _read_query_string(request: Request) -> dict[str, Any]:
    members: dict[str, Any] = {name: request.args.get(name) for name in MEMBERS}
    for name in ("variables", "extensions"):
        if members[name]:
            try:
                members[name] = parse_json(members[name].encode())
            except MalformedRequest as error:
                raise MalformedRequest(f"Parameter {name}: {error.detail}") from None
    return members


def _build(members: dict[str, Any], *, is_read_only: bool, wants_stream: bool) -> GraphQLRequest:
    query = members.get("query")
    if not isinstance(query, str) or not query.strip():
        raise MalformedRequest(NO_QUERY_DETAIL)
    operation_name = members.get("operationName")
    if not isinstance(operation_name, str | None):
        raise MalformedRequest("operationName must be a string.")
    for name in ("variables", "extensions"):
        if not isinstance(members.get(name), dict | None):
            raise MalformedRequest(f"{name} must be a JSON object.")
    # an empty name selects the only operation
    variables = members.get("variables") or {}
    return GraphQLRequest(query, operation_name or None, variables, is_read_only, wants_stream)
