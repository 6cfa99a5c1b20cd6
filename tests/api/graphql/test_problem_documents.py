"""The errors of the GraphQL API: terms of its schema, and the id of the request."""

from typing import Any

import pytest

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.graphql import query_data, query_error, send_document
from tests.support.log_capture import Capture, read_logs
from vmapi.errors import ValidationFailed
from vmapi.services.operations import idempotency
from vmapi.telemetry.logging import configure

CREATE = """
mutation Deploy($input: CreateVMInput!, $key: String) {
  ...Creates
}
fragment Creates on Mutation { createVm(input: $input, idempotencyKey: $key) { vm { id } } }
"""
INPUT = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


def test_failed_precondition_names_the_argument(harness: ApiHarness) -> None:
    vm_id = harness.create()["id"]
    update = """mutation ($id: ID!, $etag: String) {
      updateVm(id: $id, ifMatch: $etag, input: {metadata: {a: "1"}}) { vm { etag } } }"""
    error = query_error(harness, update, id=vm_id, etag='"1-a"')
    etag = harness.call("GET", f"/vms/{vm_id}").headers["ETag"]
    tag = etag.strip('"')
    assert error["message"] == (
        f'VM web-1 has changed. Read it, decide again, and send ifMatch: "\\"{tag}\\"".'
    )
    # the text is an argument of a document
    literal = error["message"].partition("send ")[2].rstrip(".")
    document = f'mutation {{ updateVm(id: "{vm_id}", {literal}, input: {{}}) {{ replayed }} }}'
    assert query_data(harness, document)["updateVm"] == {"replayed": False}


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ('{ vm(id: "web-1") { id } }', "The query vms lists all VMs; its filter has a name."),
        (
            f'mutation {{ deleteVm(id: "{UNKNOWN_ID}") {{ replayed }} }}',
            "The query vms lists all VMs; its filter has a name.",
        ),
        ('{ operation(id: "x") { id } }', "The query operations lists all operations."),
    ],
)
def test_unknown_id_names_the_query_of_the_list(
    harness: ApiHarness, query: str, advice: str
) -> None:
    assert query_error(harness, query)["message"].endswith(f". {advice}")


@pytest.mark.parametrize(
    ("member", "advice", "pointer"),
    [
        ({"flavor": "m9"}, " The query flavors lists all flavors.", "/flavor"),
        ({"image": "m9"}, " The query images lists all images.", "/image"),
        ({"network": "m9"}, " The query networks lists all networks.", "/network"),
        ({"keyName": "m9"}, "There is no key pair m9.", "/keyName"),
        ({"securityGroups": ["m9"]}, "There is no security group m9.", "/securityGroups"),
        ({"sshKeys": ["m9"]}, "/sshKeys/0: Must be an OpenSSH public key on", "/sshKeys/0"),
        ({"metadata": {"some_key": 1}}, "/metadata/some_key: Must be", "/metadata/some_key"),
    ],
)
def test_invalid_member_is_named_as_in_the_schema(
    harness: ApiHarness, member: dict[str, Any], advice: str, pointer: str
) -> None:
    problem = query_error(harness, CREATE, input={**INPUT, **member})["extensions"]
    assert advice in problem["detail"]
    assert [item["pointer"] for item in problem["errors"]] == [pointer]


def test_refusal_of_the_cloud_names_the_member_as_in_the_schema(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        message = "Invalid key_name, or key_name_2."
        raise ValidationFailed(f"The cloud refuses: {message}", ("/key_name", message))

    monkeypatch.setattr(harness.backend, "create_vm", refuse)
    problem = query_error(harness, CREATE, input=INPUT)["extensions"]
    message = "Invalid keyName, or key_name_2."
    assert problem["detail"] == f"The cloud refuses: {message}"
    assert problem["errors"] == [{"pointer": "/keyName", "message": message}]
    (node,) = query_data(harness, "{ operations { nodes { error } } }")["operations"]["nodes"]
    assert node["error"]["detail"] == problem["detail"]
    assert node["error"]["errors"] == problem["errors"]
    (operation,) = harness.get_json("/operations")["items"]
    assert operation["error"]["errors"][0]["pointer"] == "/key_name"


def test_refused_item_of_a_bulk_action_names_the_query(harness: ApiHarness) -> None:
    document = 'mutation { actOnVms(action: STOP, ids: ["web-1"]) { operation { id bulk } } }'
    operation = query_data(harness, document)["actOnVms"]["operation"]
    again = query_data(
        harness, "query ($id: ID!) { operation(id: $id) { bulk } }", id=operation["id"]
    )
    for bulk in (operation["bulk"], again["operation"]["bulk"]):
        detail = bulk["items"][0]["error"]["detail"]
        assert detail.endswith(" The query vms lists all VMs; its filter has a name.")


def test_action_of_a_bulk_action_is_named_as_in_the_schema(harness: ApiHarness) -> None:
    error = query_error(harness, 'mutation { actOnVms(action: CREATE, ids: ["x"]) { detail } }')
    assert error["message"] == (
        "Argument action: Must be one of: START, STOP, RESTART, PAUSE, RESUME, DELETE."
    )


def test_reused_key_is_described_without_a_header(harness: ApiHarness) -> None:
    query_data(harness, CREATE, input=INPUT, key="k")
    error = query_error(harness, CREATE, input={**INPUT, "name": "web-2"}, key="k")
    detail = "This idempotency key came with another request before; use a new one."
    assert error["message"] == detail


def test_malformed_entity_tag_shows_an_argument(harness: ApiHarness) -> None:
    document = f'mutation {{ deleteVm(id: "{UNKNOWN_ID}", ifMatch: "1") {{ replayed }} }}'
    error = query_error(harness, document)
    example = r'as in ifMatch: "\"1-a\"".'
    assert error["message"].endswith(example)


def test_selector_of_operations_is_described_without_kinds(harness: ApiHarness) -> None:
    query = '{ events(filter: {kind: [OPERATION_FAILED], selector: "a"}) { nodes { id } } }'
    message = query_error(harness, query)["message"]
    assert message == "/selector: A selector selects events of VMs, not of operations."


def test_problem_names_its_operation_for_both_apis(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "FIRST_RESPONSE_TIMEOUT", 0)
    harness.backend.set_faults("lost_answer=1")
    for _ in range(2):
        problem = query_error(harness, CREATE, input=INPUT, key="k")["extensions"]
    (operation,) = harness.get_json("/operations")["items"]
    assert problem["detail"] == "The first request with this idempotency key is still in progress."
    assert problem["operation"] == f"/api/v1/operations/{operation['id']}"
    assert problem["operation_id"] == operation["id"]


def test_error_and_log_have_the_request_and_its_operation(
    harness: ApiHarness, capsys: Capture
) -> None:
    configure("INFO")
    body = {"query": CREATE, "variables": {"input": {**INPUT, "flavor": "m9"}}}
    response = harness.client.post("/graphql", json=body, headers={"X-Request-ID": "deploy-7"})
    (error,) = response.json["errors"]
    assert error["extensions"]["request_id"] == "deploy-7"
    (line,) = (line for line in read_logs(capsys) if line["message"] == "request")
    assert line["graphql_operation"] == "mutation Deploy: createVm"
    assert (line["status"], line["graphql_codes"]) == (200, ["flavor_not_found"])


def test_log_of_a_success_has_no_codes(harness: ApiHarness, capsys: Capture) -> None:
    configure("INFO")
    send_document(harness, "{ vms { totalCount } again: vms { totalCount } __typename }")
    harness.get_json("/vms")
    graphql, rest = (line for line in read_logs(capsys) if line["message"] == "request")
    assert graphql["graphql_operation"] == "query: vms, __typename"
    assert not {"graphql_codes"} & graphql.keys()
    assert not {"graphql_codes", "graphql_operation"} & rest.keys()
