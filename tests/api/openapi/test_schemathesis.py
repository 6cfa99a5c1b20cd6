"""Schemathesis finds no request that the app answers otherwise than its document says."""

import re
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.schemathesis_state import Stage, explained, quiet_app, schema_of
from vmapi.api.middleware.cors import EXPOSED_HEADERS
from vmapi.domain.roles import Role, highest_role

DOCUMENTED = [
    *(content_type_conformance, response_headers_conformance),
    *(response_schema_conformance, status_code_conformance),
]
CHALLENGE = 'Bearer realm="vmapi"'
ON_EVERY_ANSWER = {"X-Request-ID"}
TOLD = set(EXPOSED_HEADERS.split(", ")) - ON_EVERY_ANSWER
"""The headers that a client may look at."""

# the cases are parametrized from them while they are collected
app = quiet_app()
schema = schema_of(app)
stage = Stage(app.test_client())

home = TemporaryDirectory()
asking = quiet_app(auth=("token",), database_url=f"sqlite:///{home.name}/vmapi.sqlite3")
asking_schema = schema_of(asking)
tokens = asking.extensions["vmapi"].tokens
BEARER = {
    role: f"Bearer {tokens.create(role.value, role, 'default', None, 'cli:me')[0]}" for role in Role
}
asking_stage = Stage(asking.test_client())
asking_stage.client.environ_base["HTTP_AUTHORIZATION"] = BEARER[Role.ADMIN]


# a stream has no end, which is what it would wait for
@schema.exclude(path_regex="/events$").parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_every_operation(case: Any) -> None:
    is_as_documented(case, stage, {})


@asking_schema.exclude(path_regex="/events$").parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_every_operation_where_tokens_are_asked_for(case: Any) -> None:
    least = role_needed(case)
    if least is not None:
        is_refused(case, {}, 401)
    for role in Role:
        headers = {"Authorization": BEARER[role]}
        if least is not None and highest_role({role, least}) is not role:
            is_refused(case, headers, 403)
        else:
            is_as_documented(case, asking_stage, headers)


def role_needed(case: Any) -> Role | None:
    """Return the least role that may, as the document has it."""
    operation = case.operation.definition.raw
    found = re.search(r"Needs the role \*\*(\w+)\*\*", operation.get("description", ""))
    assert (found is None) == (operation["security"] == []), operation
    return None if found is None else Role(found[1])


def is_as_documented(case: Any, stage: Stage, headers: dict[str, str]) -> None:
    stage.fit(case)
    answer = case.call(headers=headers)
    stage.changed(case, answer)
    case.validate_response(answer, headers=headers)
    explained(case, answer)
    headers_are_documented(case, answer)


def is_refused(case: Any, headers: dict[str, str], status: int) -> None:
    """See that a request is not answered but with a documented refusal."""
    answer = case.call(headers=headers)
    if case.method != case.operation.method.upper() or answer.json()["code"] == "not_found":
        # another method or another URL, for which nobody is asked
        return
    assert answer.status_code == status, answer.text
    case.validate_response(answer, checks=DOCUMENTED)
    headers_are_documented(case, answer)
    assert answer.headers.get("www-authenticate") == ([CHALLENGE] if status == 401 else None)
    if status == 403:
        assert answer.json()["role_needed"] == role_needed(case)


def headers_are_documented(case: Any, answer: Any) -> None:
    responses = case.operation.definition.raw["responses"]
    if case.method != case.operation.method.upper():
        return
    documented = responses.get(str(answer.status_code), {}).get("headers", {})
    sent = {name for name in TOLD if name.lower() in answer.headers}
    assert sent <= set(documented), (case.operation.label, answer.status_code)
