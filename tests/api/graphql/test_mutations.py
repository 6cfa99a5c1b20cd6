"""GraphQL mutations: each change of the REST API, with the operation and the VM."""

from typing import Any

import pytest

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.graphql import query_data, query_error

CREATE = """
mutation ($input: CreateVMInput!, $key: String, $wait: Int! = 0) {
  createVm(input: $input, idempotencyKey: $key, waitSeconds: $wait) {
    replayed operation { id action status vmId } vm { id name status metadata etag }
  }
}
"""
INPUT = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


def change_vm(harness: ApiHarness, mutation: str, vm_id: str, arguments: str = "") -> Any:
    """Send the mutation of a VM, and return its payload."""
    document = f"""mutation ($id: ID!) {{ {mutation}(id: $id {arguments}) {{
      replayed operation {{ action status }} vm {{ name status task metadata }} }} }}"""
    return query_data(harness, document, id=vm_id)[mutation]


def test_create_returns_the_operation_and_the_vm(harness: ApiHarness) -> None:
    fields = {**INPUT, "start": True, "metadata": {"my_key": "a"}, "network": None}
    change = query_data(harness, CREATE, input=fields)["createVm"]
    vm = harness.get_vm(change["vm"]["id"])
    assert change["vm"]["metadata"] == vm["metadata"] == {"my_key": "a"}
    assert change["vm"]["name"] == "web-1"
    assert change["vm"]["etag"] == harness.call("GET", f"/vms/{vm['id']}").headers["ETag"]
    operation = change["operation"]
    assert (operation["action"], operation["vmId"]) == ("CREATE", vm["id"])
    assert harness.get_json(f"/operations/{operation['id']}")["vm_id"] == vm["id"]
    assert change["replayed"] is False


def test_each_action_changes_the_vm(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    for mutation, arguments, action, status in [
        ("pauseVm", "", "PAUSE", "PAUSED"),
        ("resumeVm", "", "RESUME", "RUNNING"),
        ("restartVm", ", type: HARD", "RESTART", "RUNNING"),
        ("stopVm", "", "STOP", "STOPPED"),
        ("startVm", "", "START", "RUNNING"),
    ]:
        change = change_vm(harness, mutation, vm_id, arguments)
        harness.run_until_settled()
        assert change["operation"]["action"] == action
        assert harness.get_vm(vm_id)["status"] == status
    update = ', input: {name: "web-2", metadata: {env: "prod"}}'
    assert change_vm(harness, "updateVm", vm_id, update)["operation"]["action"] == "UPDATE"
    harness.run_until_settled()
    vm = harness.get_vm(vm_id)
    assert (vm["name"], vm["metadata"]) == ("web-2", {"env": "prod"})
    removal = ", input: {metadata: {env: null}}"
    assert change_vm(harness, "updateVm", vm_id, removal)["vm"]["metadata"] == {}
    change_vm(harness, "deleteVm", vm_id)
    harness.run_until_settled()
    assert harness.call("GET", f"/vms/{vm_id}").status_code == 404


def test_bulk_action_has_one_operation(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in (1, 2)]
    document = """mutation ($ids: [ID!], $filter: VMFilter) {
      actOnVms(action: STOP, ids: $ids, filter: $filter) {
        detail replayed operation { action vmId bulk } } }"""
    change = query_data(harness, document, ids=[*ids, UNKNOWN_ID])["actOnVms"]
    harness.run_until_settled()
    items = change["operation"]["bulk"]["items"]
    assert [item["vm_id"] for item in items] == [*ids, UNKNOWN_ID]
    assert items[2]["error"]["code"] == "vm_not_found"
    assert [harness.get_vm(vm_id)["status"] for vm_id in ids] == ["STOPPED", "STOPPED"]
    change = query_data(harness, document, filter={"selector": "env=none"})["actOnVms"]
    assert change["detail"] == "The filter selects no VM: nothing was done."


def test_changes_of_one_document_follow_each_other(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    document = """mutation ($id: ID!) {
      pauseVm(id: $id) { vm { status } }
      startVm(id: $id) { vm { status } }
      resumeVm(id: $id) { vm { status } }
    }"""
    response = harness.client.post("/graphql", json={"query": document, "variables": {"id": vm_id}})
    assert response.status_code == 200
    data = response.json["data"]
    assert data["pauseVm"]["vm"]["status"] == "PAUSED"
    assert data["resumeVm"]["vm"]["status"] == "RUNNING"
    assert data["startVm"] is None
    (error,) = response.json["errors"]
    assert error["path"] == ["startVm"]
    assert error["extensions"]["code"] == "invalid_state"
    assert error["extensions"]["allowed_actions"] == ["stop", "resume", "delete"]


def test_change_waits_for_its_operation(harness: ApiHarness) -> None:
    change = query_data(harness, CREATE, input=INPUT, wait=5)["createVm"]
    assert change["operation"]["status"] == "SUCCEEDED"
    assert change["vm"]["status"] == "STOPPED"


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ('input: {name: "a", flavor: "f", image: "i"}', "/name"),
        ('input: {name: "web", flavor: "f", image: "i", userData: "\\u0000"}', "/userData"),
        ('input: {name: "web", flavor: "f", image: "i", metadata: {my_a: 1}}', "/metadata/my_a"),
        ('input: {name: "web", flavor: "f", image: "i", sshKeys: ["x"]}', "/sshKeys/0"),
        ('input: {name: "web", flavor: "f", image: "i"}, waitSeconds: 61', "/waitSeconds"),
        ('input: {name: "web", flavor: "f", image: "i"}, idempotencyKey: ""', "/idempotencyKey"),
    ],
)
def test_invalid_argument_is_named(harness: ApiHarness, arguments: str, pointer: str) -> None:
    problem = query_error(harness, f"mutation {{ createVm({arguments}) {{ replayed }} }}")
    assert problem["extensions"]["code"] == "validation_error"
    assert problem["extensions"]["errors"][0]["pointer"] == pointer
    assert harness.get_json("/operations")["total"] == 0


def test_selection_of_a_bulk_action_is_checked(harness: ApiHarness) -> None:
    for arguments, pointer in [
        ("action: STOP", "/ids"),
        ("action: CREATE, ids: []", "/action"),
        ("action: STOP, filter: {}", "/filter"),
        ('action: STOP, filter: {createdAfter: "x"}', "/filter/createdAfter"),
    ]:
        error = query_error(harness, f"mutation {{ actOnVms({arguments}) {{ replayed }} }}")
        assert error["extensions"]["errors"][0]["pointer"] == pointer
