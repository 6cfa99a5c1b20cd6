"""/graphql: the GraphQL API, where the extra `graphql` is installed and VMAPI_GRAPHQL allows it."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Flask, Response, current_app, request

from vmapi.api.openapi.permissions import PUBLIC, requires
from vmapi.api.streams.opening import EVENT_STREAM_MEDIA_TYPE, STREAM_HEADERS, open_stream
from vmapi.api.views.graphiql import register_graphiql
from vmapi.domain.access.roles import Permission
from vmapi.errors import NotFound, VmapiError
from vmapi.settings.server import GRAPHQL_INTROSPECTION, GRAPHQL_OFF, GRAPHQL_PAGE
from vmapi.settings.settings import Settings

if TYPE_CHECKING:
    from vmapi.api.graphql.documents.requests import GraphQLRequest
    from vmapi.api.graphql.state import EventSource

GRAPHQL_MEDIA_TYPE = "application/graphql-response+json"
JSON_MEDIA_TYPE = "application/json"
OFF_DETAIL = "GraphQL is switched off: VMAPI_GRAPHQL is off."
NO_PAGE_DETAIL = "The page is switched off: VMAPI_GRAPHQL is {}."
NOT_INSTALLED_DETAIL = "GraphQL is not installed. Install the extra: pip install vmapi[graphql]"


def register_graphql(app: Flask) -> None:
    """Register the endpoints: they answer 404 where GraphQL is off or not installed."""
    mode = _settings(app).graphql
    unavailable_detail = _unavailable_detail(mode)
    for view, method in ((query_graphql, "GET"), (execute_graphql, "POST")):
        served = (
            _unavailable_view(unavailable_detail)
            if unavailable_detail
            else requires(Permission.READ)(view)
        )
        app.add_url_rule("/graphql", view.__name__, served, methods=[method])
    page_detail = None if mode == GRAPHQL_PAGE else NO_PAGE_DETAIL.format(mode)
    register_graphiql(app, unavailable_detail or page_detail)


def query_graphql() -> Response:
    """Execute a GraphQL query of the query string."""
    return _execute()


def execute_graphql() -> Response:
    """Execute a GraphQL request of the body."""
    return _execute()


def _execute() -> Response:
    from vmapi.api.graphql import execution
    from vmapi.api.graphql.documents.requests import read_request, wants_stream

    introspection = _settings(current_app).graphql in (GRAPHQL_INTROSPECTION, GRAPHQL_PAGE)
    try:
        graphql_request = read_request(request)
        outcome = execution.execute(graphql_request, introspection=introspection)
        if not isinstance(outcome, tuple):
            return _open_stream(graphql_request, outcome, introspection=introspection)
        body, status = outcome
        is_executed_badly = status == 400
    except VmapiError as error:
        body, status = execution.refuse(error)
        is_executed_badly = False
    if wants_stream(request) and status == 200:
        return _stream_response(body)
    media_type = _accepted_media_type()
    if is_executed_badly and media_type == JSON_MEDIA_TYPE and not wants_stream(request):
        # an old client reads the errors of a 200 only (GraphQL over HTTP, section 6.4.1)
        status = 200
    return _json_response(body, status, media_type)


def _open_stream(
    graphql_request: "GraphQLRequest", source: "EventSource", *, introspection: bool
) -> Response:
    from vmapi.api.graphql.event_results import build_event_results

    results = build_event_results(graphql_request, introspection=introspection)
    return open_stream(source.query, source.last_event_id, results)


def _stream_response(body: dict[str, Any]) -> Response:
    from vmapi.api.graphql.event_results import format_only_result

    return Response(format_only_result(body), 200, STREAM_HEADERS, mimetype=EVENT_STREAM_MEDIA_TYPE)


def _json_response(body: dict[str, Any], status: int, media_type: str) -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if status == 405:
        headers["Allow"] = "POST"
    retry_after = body["errors"][0]["extensions"].get("retry_after") if "data" not in body else None
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Response(
        orjson.dumps(body), status, headers, content_type=f"{media_type}; charset=utf-8"
    )


def _accepted_media_type() -> str:
    """Return the preferred media type of the client; JSON without a preference."""
    types = [JSON_MEDIA_TYPE, GRAPHQL_MEDIA_TYPE]
    return request.accept_mimetypes.best_match(types) or JSON_MEDIA_TYPE


def _unavailable_detail(mode: str) -> str | None:
    """Return the reason why GraphQL is not served; None if it is."""
    if mode == GRAPHQL_OFF:
        return OFF_DETAIL
    return None if find_spec("strawberry") else NOT_INSTALLED_DETAIL


def _unavailable_view(detail: str) -> Callable[[], Response]:
    @requires(PUBLIC)
    def graphql_unavailable() -> Response:
        raise NotFound(detail)

    return graphql_unavailable


def _settings(app: Flask) -> Settings:
    return cast(Settings, app.config["SETTINGS"])
