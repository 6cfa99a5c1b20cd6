"""Pages of stored events in GraphQL: in order, complete, and continued by the id of an event."""

from typing import Any

from bench.statements import recording
from tests.support.api_harness import ApiHarness
from tests.support.graphql import query_data, query_error

PAGE = """
query ($first: Int, $after: String, $filter: EventFilter) {
  events(first: $first, after: $after, filter: $filter) {
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { id kind vmId vm { name } operation { action } } }
  }
}
"""


def read_page(harness: ApiHarness, **variables: Any) -> tuple[list[str], dict[str, Any]]:
    """Return the kinds of a page and its position."""
    page = query_data(harness, PAGE, **variables)["events"]
    assert [edge["cursor"] for edge in page["edges"]] == [
        edge["node"]["id"] for edge in page["edges"]
    ]
    return [edge["node"]["kind"] for edge in page["edges"]], page["pageInfo"]


def test_pages_have_each_event_once(harness: ApiHarness) -> None:
    harness.create("web-1")
    kinds, position = read_page(harness, first=100)
    assert kinds[0] == "VM_CREATED"
    assert kinds[-1] == "OPERATION_SUCCEEDED"
    assert (position["hasNextPage"], position["hasPreviousPage"]) == (False, False)
    followed: list[str] = []
    after = None
    while len(followed) < len(kinds):
        page, info = read_page(harness, first=1, after=after)
        followed += page
        assert info["hasNextPage"] == (len(followed) < len(kinds))
        after = info["endCursor"]
    assert followed == kinds
    assert after == position["endCursor"]


def test_page_without_events_has_the_position_of_later_ones(harness: ApiHarness) -> None:
    vm_id = harness.create("web-1")["id"]
    _, position = read_page(harness, filter={"vmId": [vm_id], "kind": ["VM_DELETED"]})
    assert position["endCursor"]
    harness.call("DELETE", f"/vms/{vm_id}")
    kinds, _ = read_page(
        harness, after=position["endCursor"], filter={"kind": ["VM_DELETED", "OPERATION_SUCCEEDED"]}
    )
    assert kinds == ["VM_DELETED", "OPERATION_SUCCEEDED"]


def test_log_without_events_has_no_position(harness: ApiHarness) -> None:
    assert read_page(harness) == (
        [],
        {
            "hasNextPage": False,
            "hasPreviousPage": False,
            "startCursor": None,
            "endCursor": None,
        },
    )


def test_page_needs_one_query_for_the_operations_of_its_vms(harness: ApiHarness) -> None:
    for number in range(5):
        harness.create(f"web-{number}")
    query = """{ events(filter: {kind: [VM_CREATED]}) { nodes {
      vm { name operations(first: 3) { nodes { action } } } } } }"""
    with recording() as recorded:
        events = query_data(harness, query)["events"]["nodes"]
    assert [event["vm"] for event in events] == [
        {"name": f"web-{number}", "operations": {"nodes": [{"action": "CREATE"}]}}
        for number in range(5)
    ]
    statements = [text for sent in recorded.transactions for text in sent.statements]
    assert sum("FROM operations" in statement for statement in statements) == 1


def test_event_that_is_not_stored_is_an_error(harness: ApiHarness) -> None:
    problem = query_error(harness, PAGE, after="17")["extensions"]
    assert problem["code"] == "validation_error"
    assert problem["errors"][0]["pointer"] == "/after"
    assert "This event is not stored" in problem["detail"]


def test_number_of_events_is_limited(harness: ApiHarness) -> None:
    assert query_error(harness, PAGE, first=0)["extensions"]["errors"][0]["pointer"] == "/first"
