"""Documents of attackers: refused before their execution, without a value of the client."""

from typing import Any

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.graphql import query_error, send_document

CREATE = "mutation ($input: CreateVMInput!) { createVm(input: $input) { vm { id } } }"
DELETE = 'mutation M { deleteVm(id: "%s") { vm { id } } }'


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_no_operation_is_executed_without_a_name_among_several(
    harness: ApiHarness, method: str
) -> None:
    vm_id = harness.create()["id"]
    document = {"query": f"{DELETE % vm_id} query Q {{ __typename }}"}
    sent: Any = {"json": document} if method == "POST" else {"query_string": document}
    response = harness.client.open("/graphql", method=method, **sent)
    if method != "HEAD":
        detail = "operationName must name one operation of the document: M, Q."
        assert response.json["errors"][0]["message"] == detail
    assert harness.get_vm(vm_id)["status"] == "STOPPED"


def test_named_operation_alone_is_executed(harness: ApiHarness) -> None:
    vm_id = harness.create()["id"]
    document = {"query": f"{DELETE % vm_id} query Q {{ __typename }}", "operationName": "Q"}
    response = harness.client.get("/graphql", query_string=document)
    assert response.json == {"data": {"__typename": "Query"}}
    refused = harness.client.get("/graphql", query_string=document | {"operationName": "M"})
    assert refused.status_code == 405
    assert harness.get_vm(vm_id)["status"] == "STOPPED"


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_subscription_among_several_operations_opens_no_stream(
    harness: ApiHarness, accept: str
) -> None:
    query = "subscription S { events { id vm { operations { nodes { id } } } } } query Q { vms }"
    response = harness.client.post("/graphql", json={"query": query}, headers={"Accept": accept})
    assert response.json["errors"][0]["extensions"]["code"] == "malformed_request"


@pytest.mark.parametrize(
    "body",
    [
        {"query": "query A { __typename }", "operationName": "B"},
        {"query": "type A { b: Int }"},
        {"query": "fragment A on Query { __typename }"},
        {"query": "{ vms(first: %s) { totalCount } }" % ("9" * 5000)},
        {"query": "query ($n: Int = %s) { vms(first: $n) { totalCount } }" % ("9" * 5000)},
    ],
)
def test_unusable_documents_are_400(harness: ApiHarness, body: dict[str, Any]) -> None:
    headers = {"Accept": "application/graphql-response+json"}
    response = harness.client.post("/graphql", json=body, headers=headers)
    assert response.status_code == 400, response.text
    assert response.json["errors"][0]["extensions"]["code"] == "malformed_request"


@pytest.mark.parametrize("first", ["-9999999", "$n"])
def test_negative_page_size_does_not_lower_the_cost(harness: ApiHarness, first: str) -> None:
    costly = "vms(first: 1000) { nodes { operations(first: 1000) { nodes { id } } } }"
    query = f"query ($n: Int) {{ {costly} n: vms(first: {first}) {{ nodes {{ id name }} }} }}"
    error = query_error(harness, query, n=-(2**31))
    assert "fields in its result; the limit is" in error["message"]


@pytest.mark.parametrize(
    "members",
    [
        {"name": "web-1", "flavor": "m1.tiny"},
        {"name": "web-1", "flavor": "m1.tiny", "image": "cirros", "imagee": "x"},
        {"name": ["SECRET-1"], "flavor": "m1.tiny", "image": "cirros"},
    ],
)
def test_error_shows_no_user_data(harness: ApiHarness, members: dict[str, Any]) -> None:
    error = query_error(harness, CREATE, input=members | {"userData": "SECRET-2"})
    assert "SECRET" not in str(error)
    assert error["message"].startswith("Variable '$input' has invalid value")


@pytest.mark.parametrize("text", ['"SECRET"', '"a" "#cloud SECRET"', '"a" SECRET "b"'])
def test_error_of_a_literal_shows_no_user_data(harness: ApiHarness, text: str) -> None:
    query = f'mutation {{ createVm(input: {{name: "a", userData: {text}}}) {{ vm {{ id }} }} }}'
    response = send_document(harness, query)
    assert response.json["errors"]
    assert "SECRET" not in response.text


def test_json_objects_count_as_several_fields(harness: ApiHarness) -> None:
    aliases = " ".join(f"m{number}: metadata" for number in range(15))
    error = query_error(harness, f"{{ vms(first: 1000) {{ nodes {{ {aliases} }} }} }}")
    assert "fields in its result; the limit is" in error["message"]


def test_events_of_a_subscription_are_limited(harness: ApiHarness) -> None:
    aliases = " ".join(f"m{number}: metadata" for number in range(15))
    response = harness.client.post(
        "/graphql",
        json={"query": f"subscription {{ events {{ vm {{ {aliases} }} }} }}"},
        headers={"Accept": "text/event-stream"},
    )
    assert response.json["errors"][0]["message"].startswith("The document has 30")


@pytest.mark.parametrize("variables", ["[" * 990 + "]" * 990, '{"a": 1, "a": 2}', "{"])
def test_variables_of_a_get_are_checked_like_a_body(harness: ApiHarness, variables: str) -> None:
    query = {"query": "{ __typename }", "variables": variables}
    response = harness.client.get("/graphql", query_string=query)
    assert response.status_code == 400
    assert response.json["errors"][0]["message"].startswith("Parameter variables: ")


def test_forged_cursor_of_many_items_reads_the_keys_once(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        harness.create(f"web-{number}")
    reads: list[str] = []
    keys = harness.services.store.signing_keys
    read = keys.read

    def read_and_record(name: str) -> Any:
        reads.append(name)
        return read(name)

    monkeypatch.setattr(keys, "read", read_and_record)
    query = '{ vms { nodes { operations(first: 1, after: "x") { totalCount } } } }'
    errors = send_document(harness, query).json["errors"]
    assert len(errors) == 3
    assert len(reads) <= 2


def test_error_of_a_long_name_is_short(harness: ApiHarness) -> None:
    response = send_document(harness, "{ %s }" % ("x" * 100_000))
    assert len(response.text) < 5000
