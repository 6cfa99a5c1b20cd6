"""A blueprint whose decorators read like a table: what an endpoint takes, answers and refuses."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import flask_smorest
from flask import request
from marshmallow import Schema

from vmapi.api.openapi import permissions as needs
from vmapi.api.openapi.headers import CHANGE_PROBLEM_HEADERS, OUTCOME_HEADERS, PROBLEM_HEADERS
from vmapi.api.openapi.permissions import View
from vmapi.api.problems.responses import PROBLEM_MEDIA_TYPE
from vmapi.api.problems.schema import ProblemSchema, problem_example
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.body import StrictRequestParser, read_body, validation_error
from vmapi.api.request.conditional import reject_unsupported_conditions
from vmapi.domain.roles import Permission

COMMON_PROBLEMS = ("malformed_request", "validation_error", "internal_error")
BACKEND_PROBLEMS = ("backend_error", "backend_unavailable", "backend_timeout", "store_unavailable")
IDEMPOTENCY_PROBLEMS = ("idempotency_in_progress", "idempotency_key_reused")
OPERATION_PROBLEMS = (
    *("invalid_state", "task_in_progress", "forbidden", "backend_error", "backend_timeout"),
    *("operation_timeout", "backend_lost"),
)
"""What an operation may have ended with, beside what refused it at once."""

VM_CHANGE_PROBLEMS = (
    "vm_not_found",
    "vm_locked",
    "precondition_failed",
    *OPERATION_PROBLEMS,
    *IDEMPOTENCY_PROBLEMS,
)

RATE_LIMIT_EXEMPT = ("probes", "health")
"""The blueprints of what load balancers ask: no rate limits it."""


class Blueprint(flask_smorest.Blueprint):
    """Documents each endpoint as it is, and refuses what none of them takes."""

    ARGUMENTS_PARSER = StrictRequestParser()

    REPLAYABLE_PROBLEMS: tuple[str, ...] = ()
    """The problems with which a change may have ended when it was made before."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, __name__, description=description)
        self._prepare_doc_cbks = [
            self._prepare_arguments_doc,
            self._prepare_response_doc,
            needs.document_security,
            self._prepare_problems_doc,
        ]

    def get(self, rule: str) -> Callable[[View], View]:
        """Register a read."""
        return cast(Callable[[View], View], self.route(rule, methods=["GET"]))

    def post(self, rule: str) -> Callable[[View], View]:
        """Register a creation or an action."""
        return cast(Callable[[View], View], self.route(rule, methods=["POST"]))

    def patch(self, rule: str) -> Callable[[View], View]:
        """Register a change of fields."""
        return cast(Callable[[View], View], self.route(rule, methods=["PATCH"]))

    def delete(self, rule: str) -> Callable[[View], View]:
        """Register a removal."""
        return cast(Callable[[View], View], self.route(rule, methods=["DELETE"]))

    def takes(self, schema: Schema, location: str = "json", **doc: Any) -> Callable[[View], View]:
        """Name what an endpoint takes; what is loaded is passed to the view."""

        def decorator(view: View) -> View:
            wrapped = self.arguments(schema, location=location, **doc)(view)
            # the problems are documented by their own decorator
            wrapped._apidoc["arguments"].pop("responses")
            return cast(View, wrapped)

        return decorator

    def answers(
        self, status: int, schema: Schema | None = None, **doc: Any
    ) -> Callable[[View], View]:
        """Name what an endpoint answers with."""
        return cast(Callable[[View], View], self.response(status, schema, **doc))

    def also_answers(
        self, status: int, schema: Schema | None = None, **doc: Any
    ) -> Callable[[View], View]:
        """Name another answer that is no problem."""
        decorator = self.alt_response(status, schema=schema, success=True, **doc)
        return cast(Callable[[View], View], decorator)

    def request_headers(self, *headers: dict[str, Any]) -> Callable[[View], View]:
        """Name the request headers that an endpoint heeds."""

        def decorator(view: View) -> View:
            doc = {**getattr(view, "_apidoc", {}), "heeded": headers}
            setattr(view, "_apidoc", doc)  # noqa: B010 - flask-smorest looks for it there
            return view

        return decorator

    def requires(self, permission: Permission | None) -> Callable[[View], View]:
        """Name the permission that an endpoint needs, or ANYBODY."""
        return needs.requires(permission)

    def problems(self, *codes: str) -> Callable[[View], View]:
        """Name the problems that an endpoint may answer with, beside those that any may."""

        def decorator(view: View) -> View:
            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return view(*args, **kwargs)

            doc = {**getattr(view, "_apidoc", {}), "problems": codes}
            setattr(wrapper, "_apidoc", doc)  # noqa: B010 - flask-smorest looks for it there
            return cast(View, wrapper)

        return decorator

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any
    ) -> None:
        """Register a view that refuses a query, a body or a condition it does not take."""
        doc = view_func._apidoc
        doc["operation_id"] = view_func.__name__
        taken = {item["in"] for item in doc.get("arguments", {}).get("parameters", ())}
        taken |= {header["name"] for header in doc.get("heeded", ())}
        super().add_url_rule(
            rule, endpoint, _reject_unexpected(view_func, taken), strict_slashes=False, **options
        )

    def _prepare_problems_doc(
        self, doc: dict[str, Any], doc_info: dict[str, Any], *, method: str, **_: Any
    ) -> dict[str, Any]:
        doc["operationId"] = doc_info["operation_id"]
        if heeded := doc_info.get("heeded"):
            doc["parameters"] = [*doc.get("parameters", ()), *heeded]
        responses = doc.setdefault("responses", {})
        responses.pop("default", None)
        codes = [*COMMON_PROBLEMS, *doc_info.get("problems", ())]
        if self.name not in RATE_LIMIT_EXEMPT:
            codes.append("rate_limited")
        headers: dict[str, dict[str, Any]] = {**PROBLEM_HEADERS}
        if method != "get":
            codes.append("payload_too_large")
            headers |= CHANGE_PROBLEM_HEADERS
            for code in self.REPLAYABLE_PROBLEMS:
                headers[code] = {**headers.get(code, {}), **OUTCOME_HEADERS}
        if "requestBody" in doc:
            codes.append("unsupported_media_type")
        for status in sorted({PROBLEM_TYPES[code].status for code in codes}):
            found = [code for code in PROBLEM_TYPES if code in codes]
            found = [code for code in found if PROBLEM_TYPES[code].status == status]
            responses[str(status)] = _problem_response_doc(found, headers)
        return doc


def _problem_response_doc(codes: list[str], headers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    titles = (f"`{code}`: {PROBLEM_TYPES[code].title}." for code in codes)
    examples = {code: {"value": problem_example(code)} for code in codes}
    content = {"schema": ProblemSchema(), "examples": examples}
    doc: dict[str, Any] = {
        "description": " ".join(titles),
        "content": {PROBLEM_MEDIA_TYPE: content},
    }
    for code in codes:
        if code in headers:
            doc.setdefault("headers", {}).update(headers[code])
    return doc


def _reject_unexpected(view: Callable[..., Any], taken: set[str]) -> Callable[..., Any]:
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if "query" not in taken and request.args:
            raise validation_error({name: ["Unknown field."] for name in request.args})
        if request.method not in ("GET", "HEAD"):
            reject_unsupported_conditions(taken)
            # some clients cannot send none
            if "json" not in taken and b"".join(read_body(request).split()) not in (b"", b"{}"):
                raise validation_error({None: ["This takes no body."]})
        return view(*args, **kwargs)

    return wrapper
