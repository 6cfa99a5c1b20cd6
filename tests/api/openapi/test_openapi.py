"""The OpenAPI document: valid, complete, with valid examples."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.openapi_document import resolve_references
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings

METHODS = ("get", "post", "patch", "delete")
UNDOCUMENTED = {
    *("/", "/api/v1", "/api/v1/", "/graphql", "/docs/graphiql", "/docs/graphiql/<name>"),
    *("/openapi.json", "/docs", "/docs/", "/docs/assets/<name>", "/docs/reference/<name>.md"),
}
"""The entry page, GraphQL, and the routes of the document and its page."""
ANYWHERE = {"malformed_request", "validation_error", "internal_error"}
PROBES = {"get_health", "get_livez", "get_readyz"}
"""Endpoints without a rate limit."""
STORE = {"store_unavailable"}
GUARDED = {"unauthenticated", "forbidden", "issuer_unavailable", *STORE}
OPEN = {"get_health", "get_livez", "get_readyz", "get_problem", "list_problems"}
CLOUD = {"backend_error", "backend_unavailable", "backend_timeout", *STORE}
KEYED = {"idempotency_in_progress", "idempotency_key_reused"}
CHANGE = {
    *("vm_not_found", "invalid_state", "task_in_progress", "vm_locked", "forbidden"),
    *("precondition_failed", "operation_timeout", "backend_lost"),
    *("payload_too_large", *CLOUD, *KEYED),
}
NAMED = {
    *("flavor_not_found", "image_not_found", "image_ambiguous", "network_not_found"),
    *("network_ambiguous", "key_not_found", "security_group_not_found", "name_taken"),
    "security_group_ambiguous",
}
REFUSALS: dict[str, set[str]] = {
    "create_vm": {
        *(*NAMED, *CLOUD, *KEYED, "forbidden", "quota_exceeded"),
        # about the VM of an earlier request with the same key
        *("vm_not_found", "task_in_progress"),
        *("payload_too_large", "unsupported_media_type"),
    },
    "list_vms": CLOUD,
    "get_vm": {"vm_not_found", *CLOUD},
    "update_vm": {*CHANGE, "name_taken", "quota_exceeded", "unsupported_media_type"},
    "delete_vm": CHANGE,
    "get_vm_status": {"vm_not_found", *CLOUD},
    "get_vm_console": {"vm_not_found", "invalid_state", *CLOUD},
    "start_vm": {*CHANGE, "quota_exceeded"},
    "stop_vm": CHANGE,
    "restart_vm": {*CHANGE, "unsupported_media_type"},
    "pause_vm": CHANGE,
    "resume_vm": CHANGE,
    "act_on_vms": {*CLOUD, *KEYED, "payload_too_large", "unsupported_media_type"},
    "list_operations": STORE,
    "get_operation": {"operation_not_found", *STORE},
    "list_audit": STORE,
    "listen_to_events": {"rate_limited", *STORE},
    "list_flavors": CLOUD,
    "list_images": CLOUD,
    "list_networks": CLOUD,
    "get_quota": CLOUD,
    "get_health": set(),
    "get_livez": set(),
    "get_readyz": set(),
    "get_problem": {"not_found"},
    "list_problems": set(),
}
ANSWERS = {
    "create_vm": {"201", "202"},
    "delete_vm": {"202", "204"},
    "act_on_vms": {"200", "202"},
    "get_readyz": {"200", "503"},
    "get_vm": {"200", "304"},
    "get_vm_status": {"200", "304"},
    **{
        f"{action}_vm": {"200", "202"}
        for action in ("update", "start", "stop", "restart", "pause", "resume")
    },
}


def iterate_operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Iterate over the operations, with components in place of references."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, resolve_references(document, item[method])


def iterate_bodies(document: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over every documented body of requests and responses."""
    for _, _, operation in iterate_operations(document):
        name = operation["operationId"]
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} takes {media_type}", content
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                yield f"{name} answers {status}", content


def body_examples(content: Any) -> list[Any]:
    named = [example["value"] for example in content.get("examples", {}).values()]
    return named + [content[key] for key in ("example",) if key in content]


def build_validator(document: Any, schema: Any) -> Draft202012Validator:
    resolved = {**schema, "components": document["components"]}
    return Draft202012Validator(resolved, format_checker=FormatChecker())


def test_document_is_valid(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_operation_ids_are_unique_and_have_a_refusal_test(document: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in iterate_operations(document)]
    assert sorted(ids) == sorted(REFUSALS)


def test_every_route_is_documented(app: Flask, document: Any) -> None:
    documented = {(path, method.upper()) for path, method, _ in iterate_operations(document)}
    serve_app = {
        (re.sub(r"<(\w+:)?(\w+)>", r"{\2}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule not in UNDOCUMENTED
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert serve_app == documented


def test_every_operation_has_summary_and_tag(document: Any) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for _, _, operation in iterate_operations(document):
        assert operation["summary"]
        assert set(operation["tags"]) <= tags


def test_every_body_has_an_example(document: Any) -> None:
    assert [
        where for where, content in iterate_bodies(document) if not body_examples(content)
    ] == []


def test_every_example_is_valid(document: Any) -> None:
    count = 0
    for where, content in iterate_bodies(document):
        for example in body_examples(content):
            errors = list(build_validator(document, content["schema"]).iter_errors(example))
            assert errors == [], where
            count += 1
    assert count > 100


@pytest.mark.parametrize("name", REFUSALS)
def test_every_problem_is_documented(document: Any, name: str) -> None:
    (operation,) = [
        operation
        for _, _, operation in iterate_operations(document)
        if operation["operationId"] == name
    ]
    problems = {
        code: status
        for status, response in operation["responses"].items()
        for code in response.get("content", {})
        .get("application/problem+json", {})
        .get("examples", ())
    }
    guarded = set() if name in OPEN else GUARDED
    limited = set() if name in PROBES else {"rate_limited"}
    assert set(problems) == ANYWHERE | REFUSALS[name] | guarded | limited
    assert problems == {code: str(PROBLEM_TYPES[code].status) for code in problems}
    responses = {
        status
        for status, response in operation["responses"].items()
        if "application/problem+json" not in response.get("content", {})
    }
    assert responses == ANSWERS.get(name, {"200"})


def test_response_headers_are_documented(document: Any) -> None:
    headers = {
        operation["operationId"]: {
            status: set(response["headers"])
            for status, response in operation["responses"].items()
            if "headers" in response
        }
        for _, _, operation in iterate_operations(document)
    }
    location = "Operation-Location"
    of_changes = {location, "Idempotent-Replayed", "Preference-Applied"}
    assert headers["create_vm"]["201"] == {*of_changes, "Location", "ETag"}
    assert headers["create_vm"]["202"] == {*of_changes, "Location", "ETag", "Retry-After"}
    assert headers["act_on_vms"]["200"] == of_changes
    assert headers["act_on_vms"]["202"] == {*of_changes, "Retry-After"}
    assert headers["delete_vm"]["204"] == of_changes
    assert headers["delete_vm"]["202"] == {*of_changes, "ETag", "Retry-After"}
    assert headers["stop_vm"]["200"] == {*of_changes, "ETag"}
    assert headers["stop_vm"]["202"] == {*of_changes, "ETag", "Retry-After"}
    assert headers["stop_vm"]["412"] == {"ETag"}
    for name in ("get_vm", "get_vm_status"):
        assert headers[name]["200"] == headers[name]["304"] == {"ETag", "Age", "Cache-Control"}
    assert headers["list_vms"]["200"] == {"Link", "Age"}
    assert headers["list_operations"]["200"] == {"Link"}
    assert headers["list_operations"]["503"] == {"Retry-After"}
    assert headers["stop_vm"]["503"] == {location, "Retry-After"}
    assert headers["stop_vm"]["504"] == {location, "Idempotent-Replayed"}
    assert headers["create_vm"]["409"] == {location, "Idempotent-Replayed", "Retry-After"}
    assert headers["act_on_vms"]["409"] == {location, "Retry-After"}
    assert "504" not in headers["get_vm"]


def test_every_operation_documents_security_and_role(document: Any) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer"}
    for _, method, operation in iterate_operations(document):
        if operation["operationId"] in OPEN:
            assert operation["security"] == []
            assert "role" not in operation.get("description", "")
        else:
            # the app of these tests accepts anonymous callers
            assert operation["security"] == [{"bearer": []}, {}]
            role = "viewer" if method == "get" else "operator"
            role = "admin" if operation["operationId"] == "list_audit" else role
            assert operation["description"].endswith(f"Needs the role **{role}**.")
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]


@pytest.mark.parametrize(
    ("auth", "ways"),
    [(("token",), ["bearer"]), (("token", "keystone"), ["bearer", "keystone"])],
)
def test_document_lists_the_configured_security_schemes(
    tmp_path: Path, auth: tuple[str, ...], ways: list[str]
) -> None:
    settings = Settings(
        log_level="CRITICAL",
        auth=auth,
        database_url=f"sqlite:///{tmp_path}/vmapi.sqlite3",
        keystone_url="https://keystone.invalid",
    )
    app_document = create_app(settings, MemoryBackend()).test_client().get("/openapi.json").json
    requirements = [operation["security"] for _, _, operation in iterate_operations(app_document)]
    accepted = [{way: []} for way in ways]
    assert [requirement for requirement in requirements if requirement] == [accepted] * (
        len(requirements) - len(OPEN)
    )
    assert set(app_document["components"]["securitySchemes"]) == set(ways)
    OpenAPIV31SpecValidator(app_document).validate()


def test_request_headers_are_documented(document: Any) -> None:
    documented = {
        operation["operationId"]: {
            parameter["name"]
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "header"
        }
        for _, _, operation in iterate_operations(document)
    }
    assert documented["create_vm"] == {"Idempotency-Key", "Prefer"}
    for name in ("update_vm", "delete_vm", "restart_vm"):
        assert documented[name] == {"Idempotency-Key", "Prefer", "If-Match"}
    for name in ("get_vm", "get_vm_status"):
        assert documented[name] == {"If-None-Match", "Cache-Control"}
    assert documented["list_vms"] == {"Cache-Control"}


def test_query_parameters_are_documented(document: Any, shell: Flask) -> None:
    views = {name.rpartition(".")[2]: view for name, view in shell.view_functions.items()}
    parameters = {}
    for _, _, operation in iterate_operations(document):
        name = operation["operationId"]
        about: Any = getattr(views[name], "_apidoc")  # noqa: B009 - no type has it
        taken = about.get("arguments", {}).get("parameters", ())
        declared = [
            set(parameter["schema"].fields) for parameter in taken if parameter["in"] == "query"
        ]
        shown = operation.get("parameters", ())
        parameters[name] = {parameter["name"] for parameter in shown if parameter["in"] == "query"}
        assert (name, parameters[name]) == (name, set().union(*declared))
    assert {"page", "cursor", "sort", "status"} < parameters["list_vms"]
    filters = {"vm_id", "kind", "selector"}
    assert parameters["listen_to_events"] == {*filters, "last_event_id", "wait", "limit"}
    assert parameters["get_vm"] == set()


@pytest.mark.parametrize("schema", ["CreateVM", "UpdateVM"])
def test_metadata_have_a_limit_of_keys(document: Any, schema: str) -> None:
    properties = document["components"]["schemas"][schema]["properties"]
    assert properties["metadata"]["maxProperties"] == 127
