"""Problem documents in `extensions` of the errors of a GraphQL response."""

from typing import Any

from flask import has_request_context

from vmapi.api.problems.responses import problem_document
from vmapi.api.problems.terms import ClientApi
from vmapi.api.request.context import current_request_id
from vmapi.errors import VmapiError


def build_extensions(error: VmapiError) -> dict[str, Any]:
    """Return the problem document of an error, with the id of the request if there is one."""
    problem = {**problem_document(error, api=ClientApi.GRAPHQL), **_header_members(error)}
    if has_request_context():
        problem["request_id"] = current_request_id()
    return problem


def _header_members(error: VmapiError) -> dict[str, Any]:
    """Return the members for the headers of a REST response: the execution has one response."""
    retry_after = getattr(error, "retry_after", None)
    return {
        **({} if retry_after is None else {"retry_after": retry_after}),
        **({"replayed": True} if error.replayed else {}),
    }
