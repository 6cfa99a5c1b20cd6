"""GraphQL over HTTP: methods, media types, and refusals before the execution."""

from typing import Any

import pytest
from graphql import get_introspection_query

from tests.support.api_harness import ApiHarness
from tests.support.graphql import query_data, query_error, send_document
from vmapi.api.graphql.documents.limits import MAX_ALIASES, MAX_COST, MAX_GRAPHQL_DEPTH, MAX_TOKENS

TYPENAME = {"query": "{ __typename }"}
RESPONSE_JSON = "application/graphql-response+json"


def test_get_executes_queries_only(harness: ApiHarness) -> None:
    response = harness.client.get("/graphql", query_string=TYPENAME)
    assert response.json == {"data": {"__typename": "Query"}}
    refused = harness.client.get("/graphql", query_string={"query": "mutation { __typename }"})
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
    detail = "GET executes queries only. Send this operation with POST."
    assert refused.json["errors"][0]["message"] == detail


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/graphql", ""]
)
def test_media_types_of_web_forms_are_refused(harness: ApiHarness, media_type: str) -> None:
    response = harness.client.post(
        "/graphql", data='{"query": "{ __typename }"}', content_type=media_type
    )
    assert response.status_code == 415
    assert response.json["errors"][0]["extensions"]["code"] == "unsupported_media_type"


def test_batch_is_refused(harness: ApiHarness) -> None:
    response = harness.client.post("/graphql", json=[TYPENAME, TYPENAME])
    assert response.status_code == 400
    detail = "vmapi accepts no batch: send one GraphQL request in a body."
    assert response.json["errors"][0]["message"] == detail


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"query": 1},
        {"query": " "},
        {"variables": []},
        {"operationName": 1},
        {"extensions": "x"},
    ],
)
def test_invalid_members_are_400(harness: ApiHarness, members: dict[str, Any]) -> None:
    body = {**TYPENAME, **members} if members else {}
    response = harness.client.post("/graphql", json=body)
    assert response.status_code == 400
    assert response.json["errors"][0]["extensions"]["code"] == "malformed_request"


def test_status_of_an_invalid_document_depends_on_the_media_type(harness: ApiHarness) -> None:
    for accept, status in (("application/json", 200), (RESPONSE_JSON, 400)):
        response = harness.client.post(
            "/graphql", json={"query": "{ nothing }"}, headers={"Accept": accept}
        )
        assert response.status_code == status
        assert response.content_type == f"{accept}; charset=utf-8"
        assert "data" not in response.json
        assert response.json["errors"][0]["message"].startswith("Cannot query field 'nothing'")


def nested_document(depth: int) -> str:
    return "{ vm " * depth + "{ __typename }" + " }" * depth


def billion_fields() -> str:
    spreads = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(30))
    return f"{{ ...f0 }} {spreads} fragment f30 on Query {{ __typename }}"


def test_largest_page_with_all_fields_is_allowed(harness: ApiHarness) -> None:
    query = "{ vms(first: 1000) { edges { cursor node { id name addresses { ip } } } } }"
    assert query_data(harness, query) == {"vms": {"edges": []}}
    assert query_data(harness, get_introspection_query())["__schema"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("{ " + "__typename " * MAX_TOKENS + "}", f"more than {MAX_TOKENS} tokens"),
        (
            "{ " + " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES + 1)) + " }",
            f"has {MAX_ALIASES + 1} aliases; the limit is {MAX_ALIASES}.",
        ),
        (
            nested_document(MAX_GRAPHQL_DEPTH),
            f"{MAX_GRAPHQL_DEPTH + 1} levels of fields; the limit is {MAX_GRAPHQL_DEPTH}.",
        ),
        (billion_fields(), f"fields in its result; the limit is {MAX_COST}."),
        (
            "{ " + "vms(first: 1000) { nodes { id name flavor image status task } } " * 9 + "}",
            f"fields in its result; the limit is {MAX_COST}.",
        ),
    ],
    ids=["tokens", "aliases", "depth", "fragments", "pages"],
)
def test_limits_are_checked_before_the_execution(
    harness: ApiHarness, query: str, detail: str
) -> None:
    response = send_document(harness, query)
    assert "data" not in response.json
    error = query_error(harness, query)
    assert error["extensions"]["code"] == "malformed_request"
    assert detail in error["message"]


def test_page_size_of_a_variable_counts(harness: ApiHarness) -> None:
    fields = "vms(first: $n) { nodes { id name flavor image status task } } "
    query = "query ($n: Int!) { " + fields * 9 + "}"
    assert query_data(harness, query, n=10)
    assert "fields in its result" in query_error(harness, query, n=1000)["message"]


def test_fragment_of_itself_is_refused(harness: ApiHarness) -> None:
    response = send_document(harness, "{ ...f } fragment f on Query { ...f }")
    assert "data" not in response.json
    assert "itself" in response.json["errors"][0]["message"]
