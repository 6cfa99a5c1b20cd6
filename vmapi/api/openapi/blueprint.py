"""A blueprint with decorators that declare arguments, responses, headers and problems.

The declaration is the source of the OpenAPI document, and it is enforced: a request with a query,
a body or a condition that the endpoint does not declare is refused.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, cast

import flask_smorest
from apispec import APISpec
from flask import request
from marshmallow import Schema

from vmapi.api.openapi import permissions
from vmapi.api.openapi.headers import CHANGE_PROBLEM_HEADERS, OUTCOME_HEADERS, PROBLEM_HEADERS
from vmapi.api.openapi.permissions import View
from vmapi.api.openapi.problem_responses import document_problems
from vmapi.api.request.body import (
    StrictRequestParser,
    query_error,
    read_body,
    validation_error,
)
from vmapi.api.request.headers import reject_unsupported_conditions
from vmapi.domain.access.roles import Permission

COMMON_PROBLEMS = ("malformed_request", "validation_error", "internal_error")
BACKEND_PROBLEMS = (
    *("backend_error", "backend_unavailable", "backend_timeout"),
    "store_unavailable",
)
IDEMPOTENCY_PROBLEMS = ("idempotency_in_progress", "idempotency_key_reused")
OPERATION_PROBLEMS = (
    *("invalid_state", "task_in_progress", "forbidden", "backend_error", "backend_timeout"),
    *("operation_timeout", "backend_lost"),
)
"""Problems that an operation can end with after vmapi accepted it."""

VM_CHANGE_PROBLEMS = (
    *("vm_not_found", "vm_locked", "precondition_failed"),
    *(*OPERATION_PROBLEMS, *IDEMPOTENCY_PROBLEMS),
)

RATE_LIMIT_EXEMPT = ("probes", "health")
"""Blueprints without a rate limit: load balancers poll them."""


class Blueprint(flask_smorest.Blueprint):
    """Documents each endpoint from its decorators and refuses undeclared input."""

    ARGUMENTS_PARSER = StrictRequestParser()

    REPLAYABLE_PROBLEMS: tuple[str, ...] = ()
    """Problems that a repeated request with the same idempotency key can get as the outcome."""

    CHANGE_VARIANT = "change"
    """End of the component names of problem responses that have the headers of a change."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, __name__, description=description)
        self._prepare_doc_cbks = [
            self._prepare_arguments_doc,
            self._prepare_response_doc,
            permissions.document_security,
            self._prepare_problems_doc,
        ]

    def get(self, rule: str) -> Callable[[View], View]:
        """Register a GET endpoint."""
        return cast(Callable[[View], View], self.route(rule, methods=["GET"]))

    def post(self, rule: str) -> Callable[[View], View]:
        """Register a POST endpoint."""
        return cast(Callable[[View], View], self.route(rule, methods=["POST"]))

    def patch(self, rule: str) -> Callable[[View], View]:
        """Register a PATCH endpoint."""
        return cast(Callable[[View], View], self.route(rule, methods=["PATCH"]))

    def delete(self, rule: str) -> Callable[[View], View]:
        """Register a DELETE endpoint."""
        return cast(Callable[[View], View], self.route(rule, methods=["DELETE"]))

    def arguments(
        self, schema: Schema, *, location: str = "json", **doc: Any
    ) -> Callable[[View], View]:
        """Declare the body or the query; the view receives the loaded value."""
        declare = super().arguments(schema, location=location, **doc)

        def decorator(view: View) -> View:
            wrapped = declare(view)
            # `problems` documents the error responses
            wrapped._apidoc["arguments"].pop("responses")
            return cast(View, wrapped)

        return decorator

    def response(
        self,
        status_code: int,
        schema: Schema | None = None,
        *,
        headers: Iterable[str] = (),
        **doc: Any,
    ) -> Callable[[View], View]:
        """Declare the main response, with the names of its headers."""
        decorator = super().response(status_code, schema, headers=_references(headers), **doc)
        return cast(Callable[[View], View], decorator)

    def alt_response(
        self,
        status_code: int,
        schema: Schema | None = None,
        *,
        headers: Iterable[str] = (),
        **doc: Any,
    ) -> Callable[[View], View]:
        """Declare another response that is not a problem."""
        doc |= {"headers": _references(headers), "success": True}
        decorator = super().alt_response(status_code, schema=schema, **doc)
        return cast(Callable[[View], View], decorator)

    def request_headers(self, *names: str) -> Callable[[View], View]:
        """Declare the request headers that the endpoint supports."""

        def decorator(view: View) -> View:
            doc = {**getattr(view, "_apidoc", {}), "request_headers": names}
            setattr(view, "_apidoc", doc)  # noqa: B010 - flask-smorest reads this attribute
            return view

        return decorator

    def requires(self, permission: Permission | None) -> Callable[[View], View]:
        """Declare the permission that the endpoint requires, or PUBLIC."""
        return permissions.requires(permission)

    def problems(self, *codes: str) -> Callable[[View], View]:
        """Declare the problems of the endpoint in addition to the common ones."""

        def decorator(view: View) -> View:
            doc = {**getattr(view, "_apidoc", {}), "problems": codes}
            setattr(view, "_apidoc", doc)  # noqa: B010 - flask-smorest reads this attribute
            return view

        return decorator

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any
    ) -> None:
        """Register a view that refuses undeclared input."""
        doc = view_func._apidoc
        doc["operation_id"] = view_func.__name__
        declared = {item["in"] for item in doc.get("arguments", {}).get("parameters", ())}
        declared |= {*doc.get("request_headers", ())}
        super().add_url_rule(
            rule,
            endpoint,
            _reject_undeclared(view_func, declared),
            strict_slashes=False,
            **options,
        )

    def _prepare_problems_doc(
        self,
        doc: dict[str, Any],
        doc_info: dict[str, Any],
        *,
        spec: APISpec,
        method: str,
        **_: Any,
    ) -> dict[str, Any]:
        doc["operationId"] = doc_info["operation_id"]
        if request_headers := doc_info.get("request_headers"):
            doc["parameters"] = [*doc.get("parameters", ()), *request_headers]
        codes = self._problem_codes(doc, doc_info, method)
        headers = self._problem_headers(method)
        doc["responses"] |= document_problems(spec, codes, headers, self.CHANGE_VARIANT)
        return doc

    def _problem_codes(
        self, doc: dict[str, Any], doc_info: dict[str, Any], method: str
    ) -> set[str]:
        codes = {*COMMON_PROBLEMS, *doc_info.get("problems", ())}
        if self.name not in RATE_LIMIT_EXEMPT:
            codes.add("rate_limited")
        if method != "get":
            codes.add("payload_too_large")
        if "requestBody" in doc:
            codes.add("unsupported_media_type")
        return codes

    def _problem_headers(self, method: str) -> dict[str, tuple[str, ...]]:
        headers = {**PROBLEM_HEADERS}
        if method != "get":
            headers |= CHANGE_PROBLEM_HEADERS
            for code in self.REPLAYABLE_PROBLEMS:
                headers[code] = (*headers.get(code, ()), *OUTCOME_HEADERS)
        return headers


def _references(names: Iterable[str]) -> dict[str, str] | None:
    """Return headers as references to their components, or None without headers."""
    return {name: name for name in names} or None


def _reject_undeclared(view: Callable[..., Any], declared: set[str]) -> Callable[..., Any]:
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if "query" not in declared and request.query_string and request.args:
            messages = ["Unknown parameter. There are none here."]
            raise query_error(dict.fromkeys(request.args, messages))
        if request.method not in ("GET", "HEAD"):
            reject_unsupported_conditions(declared, creates=view.__name__.startswith("create_"))
            # some clients cannot omit the body: an empty object counts as none
            if "json" not in declared and b"".join(read_body(request).split()) not in (b"", b"{}"):
                raise validation_error({None: ["This endpoint takes no body."]})
        return view(*args, **kwargs)

    return wrapper
