"""GraphQL queries: the data of the REST API, by the same rules."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.graphql import query_data, query_error

PAGE = """
query ($first: Int!, $after: String, $filter: VMFilter) {
  vms(first: $first, after: $after, filter: $filter, sort: "name") {
    totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { name } }
  }
}
"""


def names_of(page: Any) -> list[str]:
    return [edge["node"]["name"] for edge in page["vms"]["edges"]]


def test_vm_has_the_values_of_the_rest_api(harness: ApiHarness) -> None:
    vm_id = harness.create_running(metadata={"env": "prod"})
    query = """query ($id: ID!) { vm(id: $id) {
      id name flavor image status ipAddress addresses { network ip version type } metadata
      keyName securityGroups locked fault { code } backendStatus createdAt updatedAt } }"""
    vm, rest = query_data(harness, query, id=vm_id)["vm"], harness.get_vm(vm_id)
    assert vm == {
        **{name: rest[name] for name in ("id", "name", "flavor", "image", "status", "addresses")},
        **{name: rest[name] for name in ("metadata", "locked", "fault")},
        "ipAddress": rest["ip_address"],
        "keyName": rest["key_name"],
        "securityGroups": rest["security_groups"],
        "backendStatus": rest["backend_status"],
        "createdAt": rest["created_at"],
        "updatedAt": rest["updated_at"],
    }


def test_pages_follow_each_other_by_the_end_cursor(harness: ApiHarness) -> None:
    for name in ("web-1", "web-2", "web-3"):
        harness.create(name)
    first = query_data(harness, PAGE, first=2)
    info = first["vms"]["pageInfo"]
    assert names_of(first) == ["web-1", "web-2"]
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    second = query_data(harness, PAGE, first=2, after=info["endCursor"])
    assert names_of(second) == ["web-3"]
    assert second["vms"]["totalCount"] == 3
    # the cursor of each edge begins a page, too
    cursor = first["vms"]["edges"][0]["cursor"]
    assert names_of(query_data(harness, PAGE, first=1, after=cursor)) == ["web-2"]


def test_cursor_is_valid_for_its_filter_only(harness: ApiHarness) -> None:
    harness.create("web-1")
    cursor = query_data(harness, PAGE, first=1)["vms"]["pageInfo"]["endCursor"]
    error = query_error(harness, PAGE, first=1, after=cursor, filter={"name": "web-*"})
    detail = "The cursor belongs to other filters, or to another order. Repeat them."
    assert error["extensions"]["code"] == "validation_error"
    assert error["extensions"]["errors"] == [{"pointer": "/after", "message": detail}]
    forged = query_error(harness, PAGE, first=1, after="x")
    detail = "The cursor is not one that vmapi has issued for this list. Start again without it."
    assert forged["extensions"]["errors"] == [{"pointer": "/after", "message": detail}]
    assert forged["message"] == f"Argument after: {detail}"


def test_page_leaves_the_links_of_the_rest_list_as_they_are(harness: ApiHarness) -> None:
    for name in ("web-1", "web-2", "web-3"):
        harness.create(name)
    filters = {"status": ["BUILDING", "STOPPED"], "name": "web-*"}
    query_data(harness, PAGE, first=1, filter=filters)
    page = harness.get_json("/vms?page_size=1&sort=name&name=web-*&status=BUILDING&status=STOPPED")
    following = harness.client.get(page["next"]).json
    assert [vm["name"] for vm in following["items"]] == ["web-2"]
    assert following["page_size"] == 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"selector": "env in (prod),!legacy"}, ["web-1"]),
        ({"name": "web-2"}, ["web-2"]),
        ({"flavor": "m1.tiny", "image": "cirros"}, ["web-1", "web-2"]),
        ({"status": ["ERROR"]}, []),
        ({"createdAfter": "2000-01-01T00:00:00Z"}, ["web-1", "web-2"]),
        ({"createdBefore": "2000-01-01T00:00:00Z"}, []),
    ],
)
def test_filters_select_as_in_the_rest_api(
    harness: ApiHarness, filters: dict[str, Any], expected: list[str]
) -> None:
    harness.create("web-1", metadata={"env": "prod"})
    harness.create("web-2", metadata={"env": "prod", "legacy": "yes"})
    assert names_of(query_data(harness, PAGE, first=10, filter=filters)) == expected


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ('{ vms(filter: {createdAfter: "x"}) { totalCount } }', "/createdAfter"),
        ('{ vms(filter: {selector: "a in"}) { totalCount } }', "/selector"),
        ('{ vms(filter: {name: "a*b"}) { totalCount } }', "/name"),
        ('{ vms(sort: "size") { totalCount } }', "/sort"),
        ("{ vms(first: 0) { totalCount } }", "/first"),
        ("{ operations(first: 1001) { totalCount } }", "/first"),
        ("{ vms(filter: {status: []}) { totalCount } }", "/status"),
        ("{ events(filter: {vmId: []}) { nodes { id } } }", "/vmId"),
        ("{ events(filter: {kind: []}) { nodes { id } } }", "/kind"),
    ],
)
def test_invalid_argument_is_named(harness: ApiHarness, query: str, pointer: str) -> None:
    problem = query_error(harness, query)["extensions"]
    assert (problem["code"], problem["status"]) == ("validation_error", 422)
    assert problem["errors"][0]["pointer"] == pointer


def test_unknown_vm_is_a_problem_next_to_the_other_data(harness: ApiHarness) -> None:
    query = f'{{ vm(id: "{UNKNOWN_ID}") {{ name }} flavors {{ name }} }}'
    response = harness.client.post("/graphql", json={"query": query})
    assert response.status_code == 200
    assert response.json["data"]["vm"] is None
    assert len(response.json["data"]["flavors"]) > 1
    (error,) = response.json["errors"]
    assert error["path"] == ["vm"]
    assert error["extensions"].pop("request_id") == response.headers["X-Request-ID"]
    assert error["extensions"] == {
        "type": "/problems/vm_not_found",
        "title": "VM not found",
        "status": 404,
        "code": "vm_not_found",
        "detail": error["message"],
    }


def test_operations_catalog_and_quota(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    bulk = harness.post("/vms/actions", {"action": "stop", "ids": [vm_id]}).json
    query = """query ($id: ID!, $bulk: ID!) {
      operations(filter: {vmId: $id, action: CREATE}) { totalCount nodes { vmId action status } }
      operation(id: $bulk) { id vmId action bulk }
      flavors { name vcpus ramMb diskGb } images { name minRamMb } networks { id name }
      quota { vms { used limit limitedBy } ramMb { used } }
    }"""
    data = query_data(harness, query, id=vm_id, bulk=bulk["operation_id"])
    create = {"vmId": vm_id, "action": "CREATE", "status": "SUCCEEDED"}
    assert data["operations"] == {"totalCount": 1, "nodes": [create]}
    operation = harness.get_json(f"/operations/{bulk['operation_id']}")
    assert data["operation"]["vmId"] is None
    assert data["operation"]["bulk"] == operation["bulk"]
    names = [flavor["name"] for flavor in harness.get_json("/flavors")["items"]]
    assert [flavor["name"] for flavor in data["flavors"]] == names
    assert data["quota"]["vms"]["used"] == harness.get_json("/quota")["vms"]["used"] == 1


def test_endpoint_is_404_where_it_is_switched_off(serve_app: Callable[..., Flask]) -> None:
    response = serve_app(graphql="off").test_client().get("/graphql?query={__typename}")
    assert response.status_code == 404
    assert response.json["detail"] == "GraphQL is switched off: VMAPI_GRAPHQL is off."


def test_endpoint_is_404_without_the_extra(
    serve_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmapi.api.views.graphql.find_spec", lambda name: None)
    response = serve_app().test_client().post("/graphql", json={"query": "{ __typename }"})
    assert response.status_code == 404
    assert "pip install vmapi[graphql]" in response.json["detail"]


@pytest.mark.parametrize(
    ("mode", "detail"),
    [
        ("graphiql", None),
        ("introspection", "The page is switched off: VMAPI_GRAPHQL is introspection."),
        ("off", "GraphQL is switched off: VMAPI_GRAPHQL is off."),
    ],
)
def test_page_can_be_switched_off(
    serve_app: Callable[..., Flask], mode: str, detail: str | None
) -> None:
    client = serve_app(graphql=mode).test_client()
    for path in ("/docs/graphiql", "/docs/graphiql/init.js"):
        response = client.get(path, buffered=True)
        if detail is None:
            assert response.status_code == 200
            assert response.headers["Content-Security-Policy"].endswith("; font-src data:")
            assert "unsafe" not in response.headers["Content-Security-Policy"]
        else:
            assert (response.status_code, response.json["detail"]) == (404, detail)
    assert client.get("/docs/graphiql/SHA256SUMS").status_code == 404


def test_introspection_can_be_switched_off(serve_app: Callable[..., Flask]) -> None:
    client = serve_app(graphql="endpoint").test_client()
    body = {"query": "{ __schema { types { name } } }"}
    response = client.post("/graphql", json=body)
    assert "data" not in response.json
    assert "introspection" in response.json["errors"][0]["message"]
    assert client.post("/graphql", json={"query": "{ __typename }"}).json == {
        "data": {"__typename": "Query"}
    }
