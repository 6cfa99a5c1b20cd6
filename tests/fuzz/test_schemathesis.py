"""Generated requests: each response conforms to the OpenAPI document."""

import re
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.openapi_document import resolve_references
from tests.support.schemathesis_state import (
    SchemathesisState,
    build_app,
    check_validation_error,
    load_schema,
)
from vmapi.api.middleware.cors import EXPOSED_HEADERS
from vmapi.domain.access.roles import Role, highest_role

DOCUMENTED = [
    *(content_type_conformance, response_headers_conformance),
    *(response_schema_conformance, status_code_conformance),
]
CHALLENGE = 'Bearer realm="vmapi"'
UNDOCUMENTED_HEADERS = {"X-Request-ID"}
"""Headers of every response."""
CLIENT_HEADERS = set(EXPOSED_HEADERS.split(", ")) - UNDOCUMENTED_HEADERS
"""The headers that a script of another origin may read."""

# Schemathesis parametrizes the tests from the schemas during collection
app = build_app()
schema = load_schema(app)
state = SchemathesisState(app.test_client())

folder = TemporaryDirectory()
token_app = build_app(auth=("token",), database_url=f"sqlite:///{folder.name}/vmapi.sqlite3")
token_schema = load_schema(token_app)
api_tokens = token_app.extensions["vmapi"].api_tokens
BEARER = {
    role: f"Bearer {api_tokens.create(role.value, role, 'default', None, 'cli:me')[0]}"
    for role in Role
}
token_state = SchemathesisState(token_app.test_client())
token_state.client.environ_base["HTTP_AUTHORIZATION"] = BEARER[Role.ADMIN]


@pytest.fixture(autouse=True)
def _background_threads() -> None:
    """Do not check for threads: the heartbeats of both apps run as long as the module."""


# an event stream does not end, and the test client waits for its end
@schema.exclude(path_regex="/events$").parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_every_operation(case: Any) -> None:
    check_documented_response(case, state, {})


@token_schema.exclude(path_regex="/events$").parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_every_operation_with_tokens(case: Any) -> None:
    required = required_role(case)
    if required is not None:
        check_refusal(case, {}, 401)
    for role in Role:
        headers = {"Authorization": BEARER[role]}
        if required is not None and highest_role({role, required}) is not role:
            check_refusal(case, headers, 403)
        else:
            check_documented_response(case, token_state, headers)


def required_role(case: Any) -> Role | None:
    """Return the lowest role that the document allows to call the operation."""
    operation = case.operation.definition.raw
    match = re.search(r"Needs the role \*\*(\w+)\*\*", operation.get("description", ""))
    assert (match is None) == (operation["security"] == []), operation
    return None if match is None else Role(match[1])


def check_documented_response(case: Any, state: SchemathesisState, headers: dict[str, str]) -> None:
    """Send the case for a VM that exists, and check the response against the document."""
    state.prepare(case)
    response = case.call(headers=headers)
    state.record(case, response)
    case.validate_response(response, headers=headers)
    check_validation_error(case, response)
    check_documented_headers(case, response)


def check_refusal(case: Any, headers: dict[str, str], status: int) -> None:
    """Check that the response to a case is a documented 401 or 403."""
    response = case.call(headers=headers)
    if case.method != case.operation.method.upper() or response.json()["code"] == "not_found":
        # another method or another URL, which needs no role
        return
    assert response.status_code == status, response.text
    case.validate_response(response, checks=DOCUMENTED)
    check_documented_headers(case, response)
    assert response.headers.get("www-authenticate") == ([CHALLENGE] if status == 401 else None)
    if status == 403:
        assert response.json()["role_needed"] == required_role(case)


def check_documented_headers(case: Any, response: Any) -> None:
    """Check that the document names each header that a client may read."""
    declared = case.operation.definition.raw["responses"]
    responses = resolve_references(case.operation.schema.raw_schema, declared)
    if case.method != case.operation.method.upper():
        return
    documented = responses.get(str(response.status_code), {}).get("headers", {})
    sent = {name for name in CLIENT_HEADERS if name.lower() in response.headers}
    assert sent <= set(documented), (case.operation.label, response.status_code)
