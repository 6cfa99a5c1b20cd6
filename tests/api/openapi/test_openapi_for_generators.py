"""The OpenAPI document is usable by client generators, validators and the docs page."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.api_harness import ApiHarness
from tests.support.openapi_document import resolve_references
from tests.support.processes import ROOT
from vmapi.api.openapi import examples
from vmapi.api.schemas.ssh_keys import MAX_SSH_KEY_CHARS
from vmapi.domain.lifecycle import Status, Task, allowed_actions

COMPONENTS = ("components", "schemas")
RE2_UNSUPPORTED = re.compile(r"\\u|\\[1-9]|\(\?(?:[=!>]|<[=!]|P=)|[*+}]\+")
"""Escapes, back references, lookarounds and possessive repetitions that RE2 refuses."""
MAX_RE2_REPETITIONS = 1000
NAMED_BY_GENERATORS = {"enum", "const", "properties", "additionalProperties"}
"""Members of inline schemas that generators turn into a type."""
SSH_KEY_PREFIX = "ssh-rsa "
CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
ERROR = {"type": "/problems/x", "title": "X", "status": 409, "code": "x", "detail": "X."}


def walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Iterate over the objects of a document, each with its path."""
    if isinstance(value, dict):
        yield path, value
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for name, member in items:
        yield from walk(member, (*path, name))


def is_sample(path: tuple[Any, ...]) -> bool:
    return "example" in path or "examples" in path


def schemas(document: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Iterate over everything that may be a schema."""
    return ((path, value) for path, value in walk(document) if not is_sample(path))


def operations(document: Any) -> dict[str, Any]:
    methods = ("get", "post", "patch", "delete")
    pairs = (item.items() for item in document["paths"].values())
    return {
        operation["operationId"]: resolve_references(document, operation)
        for item in pairs
        for method, operation in item
        if method in methods
    }


def is_valid(document: Any, component: str, value: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{component}", "components": document["components"]}
    return Draft202012Validator(schema).is_valid(value)


def test_optional_parameters_have_no_example_and_no_default(document: Any) -> None:
    """The docs page sends both: an If-Match would be a 412, and a cursor goes alone."""
    assert [
        (name, parameter["name"])
        for name, operation in operations(document).items()
        for parameter in operation.get("parameters", ())
        if not parameter.get("required")
        and {"example", "examples", "default"} & {*parameter, *parameter["schema"]}
    ] == []


@pytest.mark.parametrize("path", ["/vms", "/operations"])
def test_cursor_works_with_the_parameters_that_the_docs_page_sends(
    harness: ApiHarness, document: Any, path: str
) -> None:
    for name in ("web-1", "web-2"):
        harness.create(name)
    page = harness.get_json(f"{path}?page_size=1")
    operation = document["paths"][f"/api/v1{path}"]["get"]
    declared = resolve_references(document, operation)["parameters"]
    prefilled = {
        parameter["name"]: parameter["schema"]["default"]
        for parameter in declared
        if parameter["in"] == "query" and "default" in parameter["schema"]
    }
    cursor = page["next"].partition("cursor=")[2]
    response = harness.client.get(f"/api/v1{path}", query_string={**prefilled, "cursor": cursor})
    assert response.status_code == 200, response.json


def test_each_enumeration_is_one_component_with_a_type(document: Any) -> None:
    enums = {path: value for path, value in schemas(document) if "enum" in value}
    assert [path for path in enums if path[:2] != COMPONENTS or len(path) != 3] == []
    assert [path for path, value in enums.items() if "type" not in value] == []
    values = [tuple(value["enum"]) for value in enums.values()]
    assert len(values) == len(set(values)) > 10


def test_component_names_differ_from_each_other_and_from_generated_names(document: Any) -> None:
    """Generators name an inline schema after its owner and its property."""
    components = document["components"]["schemas"]
    folded = [re.sub("[^a-z0-9]", "", name.lower()) for name in components]
    generated = [
        f"{name}{property_name.replace('_', '')}".lower()
        for name, component in components.items()
        for property_name, schema in component.get("properties", {}).items()
        if any(NAMED_BY_GENERATORS & part.keys() for _, part in walk(schema))
    ]
    assert len(set(folded)) == len(folded)
    assert set(folded) & set(generated) == set()


def test_reference_has_no_siblings(document: Any) -> None:
    assert [path for path, value in schemas(document) if "$ref" in value and len(value) > 1] == []


def test_every_pattern_compiles_with_re2(document: Any) -> None:
    patterns = {
        value["pattern"] for _, value in schemas(document) if isinstance(value.get("pattern"), str)
    }
    assert len(patterns) > 5
    for pattern in patterns:
        re.compile(pattern)
        assert RE2_UNSUPPORTED.search(pattern) is None, pattern
        counts = map(int, re.findall(r"\d+", " ".join(re.findall(r"\{([\d,]+)\}", pattern))))
        assert all(count <= MAX_RE2_REPETITIONS for count in counts), pattern


@pytest.mark.parametrize("is_too_long", [False, True])
def test_longest_ssh_key_is_the_documented_one(
    harness: ApiHarness, document: Any, is_too_long: bool
) -> None:
    key = SSH_KEY_PREFIX + "A" * (MAX_SSH_KEY_CHARS - len(SSH_KEY_PREFIX) + is_too_long)
    body = {**CREATE_BODY, "ssh_keys": [key]}
    assert is_valid(document, "CreateVM", body) is not is_too_long
    response = harness.client.post("/api/v1/vms", json=body)
    assert (response.status_code == 422) is is_too_long


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "pause"}, 422),
        ({"action": "pause", "ids": [examples.VM_ID], "filter": {"name": "*"}}, 422),
        ({"action": "pause", "filter": {}}, 422),
        ({"action": "create", "ids": [examples.VM_ID]}, 422),
        ({"action": "pause", "ids": [examples.VM_ID], "force": True}, 422),
        ({"action": "pause", "ids": [examples.VM_ID]}, 200),
        ({"action": "pause", "filter": {"name": "*"}}, 200),
    ],
)
def test_bulk_request_is_valid_exactly_if_it_is_accepted(
    harness: ApiHarness, document: Any, body: Any, status: int
) -> None:
    assert is_valid(document, "BulkRequest", body) is (status == 200)
    assert harness.client.post("/api/v1/vms/actions", json=body).status_code == status


def test_bulk_item_has_an_operation_or_an_error(document: Any) -> None:
    item = {"vm_id": examples.VM_ID}
    operation = {"operation": examples.OPERATION}
    assert is_valid(document, "BulkItem", item | operation)
    assert is_valid(document, "BulkItem", item | {"error": ERROR})
    assert not is_valid(document, "BulkItem", item)
    assert not is_valid(document, "BulkItem", item | operation | {"error": ERROR})


def test_allowed_actions_are_the_actions_that_a_vm_can_allow(document: Any) -> None:
    possible = {
        action
        for status in Status
        for task in (None, *Task)
        for action in allowed_actions(status, task)
    }
    assert set(document["components"]["schemas"]["VMAction"]["enum"]) == possible
    for component in ("VM", "Problem"):
        schema = document["components"]["schemas"][component]["properties"]["allowed_actions"]
        assert schema["items"] == {"$ref": "#/components/schemas/VMAction"}


@pytest.mark.parametrize("component", ["VM", "VMState", "Problem"])
def test_task_is_a_named_enumeration_or_null(document: Any, component: str) -> None:
    schema = document["components"]["schemas"][component]["properties"]["task"]
    assert schema["anyOf"] == [{"$ref": "#/components/schemas/VMTask"}, {"type": "null"}]


def test_every_description_is_a_complete_sentence(document: Any) -> None:
    for name, operation in operations(document).items():
        assert operation["description"], name
        for response in operation["responses"].values():
            assert re.search(r"[?.!]\.", response["description"]) is None, name


def test_document_names_the_contract_and_a_contact(harness: ApiHarness, document: Any) -> None:
    assert document["info"]["contact"]["name"]
    with harness.client.get(document["externalDocs"]["url"]) as response:
        assert response.data == (ROOT / "docs/reference/api.md").read_bytes()
        assert response.content_type == "text/plain; charset=utf-8"


def test_unknown_reference_page_is_not_found(harness: ApiHarness) -> None:
    for name in ("nope.md", "..%2fglossary.md", "%2e%2e.md"):
        response = harness.client.get(f"/docs/reference/{name}")
        assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_descriptions_name_paths_of_the_document(document: Any) -> None:
    paths = {re.sub(r"\{\w+\}", "{}", path) for path in document["paths"]}
    named = re.findall(r"`GET (/\S*)`", document["info"]["description"])
    assert len(named) == 3
    assert {re.sub(r"\{\w+\}", "{}", path) for path in named} <= paths


@pytest.mark.parametrize(
    "component",
    ["CreateVM", "UpdateVM", "Restart", "BulkActionByIds", "BulkActionByFilter", "BulkFilter"],
)
def test_request_schemas_forbid_unknown_fields(document: Any, component: str) -> None:
    assert document["components"]["schemas"][component]["additionalProperties"] is False


def test_patch_accepts_both_media_types(document: Any) -> None:
    content = document["paths"]["/api/v1/vms/{vm_id}"]["patch"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/merge-patch+json"}


def test_every_component_is_referenced(document: Any) -> None:
    references = {part["$ref"] for _, part in walk(document) if "$ref" in part}
    assert references == {
        f"#/components/{kind}/{name}"
        for kind, components in document["components"].items()
        if kind != "securitySchemes"
        for name in components
    }


def test_paths_refer_to_problem_responses_and_headers(document: Any) -> None:
    """The docs page and client generators read each inline copy again."""
    inline = [
        path
        for path, part in walk(document["paths"])
        if "application/problem+json" in part or part.get("in") == "header"
    ]
    headers = [
        path
        for path, part in walk([document["paths"], document["components"]["responses"]])
        if path[-2:-1] == ("headers",) and "$ref" not in part
    ]
    assert (inline, headers) == ([], [])


def test_document_is_compact(harness: ApiHarness) -> None:
    body = harness.client.get("/openapi.json").data
    assert b"\n" not in body
    assert len(body) < 150_000


def test_document_is_stable(harness: ApiHarness) -> None:
    first, second = (harness.client.get("/openapi.json") for _ in range(2))
    assert (first.mimetype, first.data) == ("application/json", second.data)


def test_contract_names_paths_of_one_base_path_on_each_line(document: Any) -> None:
    """`/health` next to `/livez` would read as a path of the server's root."""
    below = {path.split("/")[3] for path in document["paths"] if path.startswith("/api/")}
    outside = {path.split("/")[1] for path in document["paths"]} - {"api"}
    for line in (ROOT / "docs/reference/api.md").read_text().splitlines():
        roots = set(re.findall(r"`(?:[A-Z]+ )?/(\w+)", line))
        assert not (roots & below and roots & outside), line
