"""Execute a GraphQL request, and convert its errors.

An error of the services carries the problem document of the REST API in `extensions`. So does an
error of the document itself: `malformed_request`, with the message of the library.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from flask import has_request_context
from graphql import ExecutionResult as CoreResult
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.types import ExecutionResult

from vmapi.api.graphql import page_texts
from vmapi.api.graphql.documents.checks import check_document
from vmapi.api.graphql.documents.requests import GraphQLRequest
from vmapi.api.graphql.messages import build_message
from vmapi.api.graphql.problems import build_extensions
from vmapi.api.graphql.schema import build_schema
from vmapi.api.graphql.state import EventSource, ExecutionState
from vmapi.api.request.context import request_state
from vmapi.errors import InternalError, MalformedRequest, VmapiError
from vmapi.telemetry.metrics.catalog import PROBLEMS

log = structlog.get_logger("vmapi.api")


def execute(
    request: GraphQLRequest, *, introspection: bool
) -> EventSource | tuple[dict[str, Any], int]:
    """Return the GraphQL response and its HTTP status, or the source of a subscription.

    The status is 200 if the execution has begun; its errors are then in the response.
    """
    try:
        checked = check_document(request)
    except (GraphQLSyntaxError, VmapiError) as error:
        return refuse(error)
    request_state().log_members["graphql_operation"] = checked.summary
    if data := page_texts.read_again(checked.key):
        return {"data": data}, 200
    state = ExecutionState(checked.key)
    schema = build_schema(introspection=introspection, is_caching=checked.is_short)
    result = schema.execute_sync(
        request.query,
        variable_values=request.variables,
        context_value=state,
        operation_name=request.operation_name,
    )
    return state.event_source or build_response(result)


def build_response(result: ExecutionResult | CoreResult) -> tuple[dict[str, Any], int]:
    """Return the GraphQL response of a result, and its HTTP status."""
    errors = [_error_document(error) for error in result.errors or ()]
    _log_codes(errors)
    if result.data is None and all(error.path is None for error in result.errors or ()):
        return {"errors": errors}, 400
    return {"data": result.data, **({"errors": errors} if errors else {})}, 200


def refuse(error: GraphQLSyntaxError | VmapiError) -> tuple[dict[str, Any], int]:
    """Return the response to a request that is not executed, and its status."""
    document = _error_document(error)
    _log_codes([document])
    return {"errors": [document]}, int(document["extensions"]["status"])


def _log_codes(errors: Sequence[dict[str, Any]]) -> None:
    # the events of a subscription have no request
    if errors and has_request_context():
        codes = dict.fromkeys(error["extensions"]["code"] for error in errors)
        request_state().log_members["graphql_codes"] = [*codes]


def _error_document(error: Exception) -> dict[str, Any]:
    """Return an error of a GraphQL response, with a problem document in `extensions`."""
    problem = build_extensions(_to_vmapi_error(error))
    PROBLEMS.increment(problem["code"])
    position: dict[str, Any] = {}
    if isinstance(error, GraphQLError):
        formatted = error.formatted
        position = {key: formatted[key] for key in ("locations", "path") if key in formatted}
    return {"message": problem["detail"], **position, "extensions": problem}


def _to_vmapi_error(error: Exception) -> VmapiError:
    cause = error.original_error if isinstance(error, GraphQLError) else error
    if isinstance(cause, VmapiError):
        return cause
    if cause is None or isinstance(cause, GraphQLError):
        return MalformedRequest(build_message(getattr(error, "message", str(error))))
    log.error("unhandled exception", exc_info=cause)
    return InternalError("vmapi failed to process the request.")
