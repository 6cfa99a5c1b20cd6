"""GraphQL mutations: keys, conditions, roles, limits and the audit trail are those of REST."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.audit_rows import audit_rows
from tests.support.auth_harness import AuthHarness
from tests.support.graphql import query_data, query_error, send_document
from vmapi.api.graphql.documents.limits import MAX_CHANGES
from vmapi.settings.limits import parse_rate_limits

CREATE = """
mutation ($name: String = "web-1", $key: String) {
  createVm(
    input: {name: $name, flavor: "m1.tiny", image: "cirros"}, idempotencyKey: $key
  ) { replayed operation { id } }
}
"""
DELETE = "mutation ($id: ID!, $etag: String) { deleteVm(id: $id, ifMatch: $etag) { replayed } }"


def test_repeat_under_one_key_gets_the_same_operation(harness: ApiHarness) -> None:
    first = query_data(harness, CREATE, key="k")["createVm"]
    repeat = query_data(harness, CREATE, key="k")["createVm"]
    assert (first["replayed"], repeat["replayed"]) == (False, True)
    assert repeat["operation"] == first["operation"]
    assert harness.get_json("/operations?idempotency_key=k")["total"] == 1


def test_repeat_of_a_bulk_action_gets_the_same_operation(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    document = """mutation ($ids: [ID!]) {
      actOnVms(action: STOP, ids: $ids, idempotencyKey: "k") { replayed operation { id } } }"""
    first = query_data(harness, document, ids=[vm_id])["actOnVms"]
    repeat = query_data(harness, document, ids=[vm_id.upper()])["actOnVms"]
    assert repeat == {"replayed": True, "operation": first["operation"]}


def test_key_belongs_to_one_content_and_one_api(harness: ApiHarness) -> None:
    query_data(harness, CREATE, key="k")
    other = query_error(harness, CREATE, key="k", name="web-2")["extensions"]
    assert (other["code"], other["status"]) == ("idempotency_key_reused", 422)
    rest = harness.call("POST", "/vms", json=CREATE_BODY, headers={"Idempotency-Key": "k"})
    assert (rest.status_code, rest.json["code"]) == (422, "idempotency_key_reused")
    harness.call(
        "POST", "/vms", json={**CREATE_BODY, "name": "web-3"}, headers={"Idempotency-Key": "r"}
    )
    assert (
        query_error(harness, CREATE, key="r", name="web-3")["extensions"]["code"]
        == "idempotency_key_reused"
    )


def test_change_of_another_state_is_refused(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    query = "query ($id: ID!) { vm(id: $id) { etag } }"
    etag = query_data(harness, query, id=vm_id)["vm"]["etag"]
    assert etag == harness.call("GET", f"/vms/{vm_id}").headers["ETag"]
    harness.post_action(vm_id, "stop")
    harness.run_until_settled()
    problem = query_error(harness, DELETE, id=vm_id, etag=etag)["extensions"]
    assert (problem["code"], problem["status"]) == ("precondition_failed", 412)
    assert query_data(harness, DELETE, id=vm_id, etag=problem["etag"])["deleteVm"]
    invalid = query_error(harness, DELETE, id=vm_id, etag="x")
    assert invalid["message"].startswith("Argument ifMatch must be * or a list of entity tags")


def test_list_has_no_entity_tags(harness: ApiHarness) -> None:
    harness.create()
    assert query_data(harness, "{ vms { nodes { etag } } }")["vms"]["nodes"] == [{"etag": None}]


@pytest.mark.parametrize(
    ("header", "argument"), [("Idempotency-Key", "idempotencyKey"), ("If-Match", "ifMatch")]
)
def test_header_of_the_rest_api_is_refused(harness: ApiHarness, header: str, argument: str) -> None:
    response = harness.client.post("/graphql", json={"query": CREATE}, headers={header: '"k"'})
    (error,) = response.json["errors"]
    detail = f"The header {header} has no effect here. Send the argument {argument}."
    assert error["extensions"]["detail"] == detail
    assert harness.get_json("/operations")["total"] == 0


def test_viewer_gets_the_problem_of_the_rest_api(harness: ApiHarness) -> None:
    auth = AuthHarness(harness)
    viewer = {"Authorization": f"Bearer {auth.create_token('viewer')}"}
    body = {"query": DELETE, "variables": {"id": UNKNOWN_ID}}
    rest = harness.call("DELETE", f"/vms/{UNKNOWN_ID}", headers=viewer).json
    response = harness.client.post("/graphql", json=body, headers=viewer)
    (error,) = response.json["errors"]
    assert error["extensions"].pop("request_id")
    assert error["extensions"] == {
        name: value for name, value in rest.items() if name not in ("instance", "request_id")
    }
    refusals = [(row.action, row.vm_id, row.code) for row in audit_rows(harness.app)][-2:]
    assert refusals == [("delete_vm", UNKNOWN_ID, "forbidden")] * 2
    query = {"query": "{ vms { totalCount } }"}
    assert harness.client.post("/graphql", json=query, headers=viewer).json["data"]


def test_change_is_audited_as_in_the_rest_api(harness: ApiHarness) -> None:
    for send in (lambda: harness.create("web-2"), lambda: query_data(harness, CREATE)):
        send()
        harness.run_until_settled()
    rows = [(row.action, row.outcome, row.address) for row in audit_rows(harness.app)]
    middle = len(rows) // 2
    assert rows[:middle] == rows[middle:]


def test_query_counts_as_a_read_and_each_mutation_as_a_change(
    serve_app: Callable[..., Flask],
) -> None:
    rates = {"rate_reads": "5/hour", "rate_changes": "2/hour", "rate_address": "off"}
    parsed = {name: parse_rate_limits(name[5:], text) for name, text in rates.items()}
    harness = ApiHarness(serve_app(**parsed), None, None)
    for _ in range(2):
        response = send_document(harness, "{ __typename }")
        assert response.headers["RateLimit"].startswith('"reads-per-hour"')
        assert "changes" not in response.headers["RateLimit"]
    document = 'mutation { a: deleteVm(id: "x") { replayed } b: deleteVm(id: "x") { replayed } }'
    response = send_document(harness, document)
    codes = [error["extensions"]["code"] for error in response.json["errors"]]
    assert codes == ["vm_not_found", "vm_not_found"]
    limits: Any = [limit.split(";")[:2] for limit in response.headers["RateLimit"].split(", ")]
    assert limits == [['"reads-per-hour"', "r=2"], ['"changes-per-hour"', "r=0"]]
    (error, _) = send_document(harness, document).json["errors"]
    assert error["extensions"]["code"] == "rate_limited"
    assert 1 <= error["extensions"]["retry_after"] <= 3600


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_safe_method_executes_no_mutation(harness: ApiHarness, method: str) -> None:
    query = "mutation { __typename }"
    for request in ({"json": {"query": CREATE}}, {"query_string": {"query": query}}):
        response = harness.client.open("/graphql", method=method, **request)
        assert response.status_code == (400 if "json" in request else 405)
    assert harness.get_json("/operations")["total"] == 0


def test_number_of_changes_is_limited(harness: ApiHarness) -> None:
    fragment = 'fragment f on Mutation { a: deleteVm(id: "x") { replayed } }'
    others = " ".join(
        f'b{number}: deleteVm(id: "x") {{ replayed }}' for number in range(MAX_CHANGES)
    )
    error = query_error(harness, f"mutation {{ ...f {others} }} {fragment}")
    detail = f"The document has {MAX_CHANGES + 1} changes; the limit is {MAX_CHANGES}."
    assert error["message"].startswith(detail)


def test_misspelled_variable_of_a_mutation_is_refused(harness: ApiHarness) -> None:
    error = query_error(harness, CREATE, keyy="k")
    assert error["message"] == "The mutation has no variable $keyy. Its variables are: $name, $key."
    assert harness.get_json("/operations")["total"] == 0
    # a program may share the values with several operations
    assert query_data(harness, "{ vms { totalCount } }", key="k") == {"vms": {"totalCount": 0}}
