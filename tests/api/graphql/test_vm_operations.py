"""The operations of VMs in GraphQL: one query for a page, and the cursors of the list."""

from typing import Any

import pytest

from bench.statements import recording
from tests.support.api_harness import ApiHarness
from tests.support.graphql import query_data, query_error

PAGE = """
query ($first: Int! = 50) {
  vms(first: $first, sort: "name") { nodes {
    name operations(first: 2) { totalCount nodes { action } pageInfo { hasNextPage } }
  } }
}
"""
OF_VM = """
query ($id: ID!, $after: String) {
  vm(id: $id) { operations(first: 1, after: $after) {
    totalCount nodes { action } pageInfo { endCursor hasNextPage }
  } }
}
"""


def add_vms(harness: ApiHarness, start: int, end: int) -> None:
    for number in range(start, end):
        harness.create(f"web-{number:03}")
    harness.run_until_settled()


def count_statements(harness: ApiHarness, first: int) -> Any:
    with recording() as recorded:
        nodes = query_data(harness, PAGE, first=first)["vms"]["nodes"]
    assert len(nodes) == first
    assert all(node["operations"]["totalCount"] for node in nodes)
    reads = [
        statement
        for transaction in recorded.transactions
        for statement in transaction.statements
        if "FROM operations" in statement
    ]
    return recorded.counts.statements, len(reads)


def test_page_needs_one_query_for_the_operations_of_its_vms(harness: ApiHarness) -> None:
    counts = []
    # the first request fills the caches
    add_vms(harness, 0, 1)
    count_statements(harness, 1)
    for start, end in [(1, 1), (1, 10), (10, 100)]:
        add_vms(harness, start, end)
        query_data(harness, "{ vms { totalCount } }")
        counts.append(count_statements(harness, end))
    assert [operation_reads for _, operation_reads in counts] == [1, 1, 1]
    assert len({statements for statements, _ in counts}) == 1, counts


def test_each_vm_has_its_newest_operations(harness: ApiHarness) -> None:
    first, second = (harness.create_running(f"web-{number}") for number in (1, 2))
    for action in ("stop", "start"):
        harness.clock.sleep(1)
        harness.post_action(first, action)
        harness.run_until_settled()
    nodes = query_data(harness, PAGE)["vms"]["nodes"]
    pages = {node["name"]: node["operations"] for node in nodes}
    assert pages == {
        "web-1": {
            "totalCount": 3,
            "nodes": [{"action": "START"}, {"action": "STOP"}],
            "pageInfo": {"hasNextPage": True},
        },
        "web-2": {
            "totalCount": 1,
            "nodes": [{"action": "CREATE"}],
            "pageInfo": {"hasNextPage": False},
        },
    }
    assert second


def test_cursor_continues_the_operations_of_its_vm(harness: ApiHarness) -> None:
    first, second = (harness.create_running(f"web-{number}") for number in (1, 2))
    harness.clock.sleep(1)
    harness.post_action(first, "stop")
    page = query_data(harness, OF_VM, id=first)["vm"]["operations"]
    cursor = page["pageInfo"]["endCursor"]
    following = query_data(harness, OF_VM, id=first, after=cursor)["vm"]["operations"]
    assert (page["totalCount"], page["nodes"]) == (2, [{"action": "STOP"}])
    assert following["nodes"] == [{"action": "CREATE"}]
    assert following["pageInfo"]["hasNextPage"] is False
    listed = query_data(
        harness,
        """query ($id: ID!, $after: String) {
          operations(first: 1, after: $after, filter: {vmId: $id}) { nodes { action } } }""",
        id=first,
        after=cursor,
    )
    assert listed["operations"]["nodes"] == [{"action": "CREATE"}]
    foreign = query_error(harness, OF_VM, id=second, after=cursor)
    assert foreign["path"] == ["vm", "operations"]
    assert foreign["extensions"]["errors"][0]["pointer"] == "/after"


def test_forged_cursor_of_a_nested_field_is_named(harness: ApiHarness) -> None:
    harness.create()
    query = '{ vms { nodes { name operations(after: "x") { totalCount } } } }'
    response = harness.client.post("/graphql", json={"query": query})
    (error,) = response.json["errors"]
    detail = "The cursor is not one that vmapi has issued for this list. Start again without it."
    assert error["path"] == ["vms", "nodes", 0, "operations"]
    assert error["extensions"]["errors"] == [{"pointer": "/after", "message": detail}]
    assert response.json["data"]["vms"]["nodes"] == [{"name": "web-1", "operations": None}]


def test_each_change_of_a_document_shows_the_operations_after_it(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    document = """mutation ($id: ID!) {
      pauseVm(id: $id) { vm { operations { totalCount } } }
      resumeVm(id: $id) { vm { operations { totalCount } } }
    }"""
    data = query_data(harness, document, id=vm_id)
    assert data["pauseVm"]["vm"]["operations"]["totalCount"] == 2
    assert data["resumeVm"]["vm"]["operations"]["totalCount"] == 3


@pytest.mark.parametrize("default", ["10", "1000"])
def test_default_value_of_a_variable_counts(harness: ApiHarness, default: str) -> None:
    fields = "vms(first: $n) { nodes { id name flavor image status task } } "
    query = f"query ($n: Int! = {default}) {{ {fields * 9} }}"
    if default == "10":
        assert query_data(harness, query)
        assert "fields in its result" in query_error(harness, query, n=1000)["message"]
    else:
        assert "fields in its result" in query_error(harness, query)["message"]
        assert query_data(harness, query, n=10)


def test_pages_in_pages_multiply(harness: ApiHarness) -> None:
    query = "{ vms(first: 1000) { nodes { operations(first: 50) { nodes { id } } } } }"
    assert "fields in its result" in query_error(harness, query)["message"]
