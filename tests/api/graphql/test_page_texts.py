"""A repeated document reads its page of VMs, and does not execute again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.graphql import query_data, query_error
from vmapi.api.graphql import execution, page_texts

PAGE = """query ($first: Int! = 10, $after: String) { page: vms(first: $first, after: $after) {
  totalCount pageInfo { endCursor } nodes { name status } } }"""


@pytest.fixture
def count_executions(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that returns the number of executions since its last call."""
    executed: list[None] = []
    build_schema = execution.build_schema

    def build(**options: Any) -> Any:
        executed.append(None)
        return build_schema(**options)

    def count() -> int:
        number = len(executed)
        executed.clear()
        return number

    monkeypatch.setattr(execution, "build_schema", build)
    return count


def test_repeated_document_is_executed_after_a_change_only(
    harness: ApiHarness, count_executions: Callable[[], int]
) -> None:
    vm_id = harness.create_running()
    first = query_data(harness, PAGE)
    count_executions()
    assert query_data(harness, PAGE) == first
    assert count_executions() == 0
    harness.post_action(vm_id, "stop")
    harness.run_until_settled()
    (node,) = query_data(harness, PAGE)["page"]["nodes"]
    assert node == {"name": "web-1", "status": "STOPPED"}
    assert count_executions() == 1
    harness.create("web-2")
    assert query_data(harness, PAGE)["page"]["totalCount"] == 2


def test_other_variables_and_documents_have_other_texts(harness: ApiHarness) -> None:
    for name in ("web-1", "web-2"):
        harness.create(name)
    for _ in range(2):
        assert len(query_data(harness, PAGE, first=1)["page"]["nodes"]) == 1
        assert len(query_data(harness, PAGE, first=2)["page"]["nodes"]) == 2
        both = query_data(
            harness, "{ a: vms { totalCount } b: vms { nodes { name } } flavors { name } }"
        )
        assert (both["a"], len(both["b"]["nodes"])) == ({"totalCount": 2}, 2)
        assert both["flavors"]


def test_page_with_operations_is_executed_each_time(
    harness: ApiHarness, count_executions: Callable[[], int]
) -> None:
    harness.create()
    for _ in range(2):
        query_data(harness, "{ vms { nodes { operations { totalCount } } } }")
    assert count_executions() == 2


def test_projects_have_their_own_pages(harness: ApiHarness) -> None:
    auth = AuthHarness(harness)
    names = {}
    for project in ("web", "db"):
        token = auth.create_token("operator", subject=project, project=project)
        headers = {"Authorization": f"Bearer {token}"}
        body = {"name": f"{project}-1", "flavor": "m1.tiny", "image": "cirros"}
        assert auth.call("POST", "/vms", token, json=body).status_code in (201, 202)
        for _ in range(2):
            response = harness.client.post("/graphql", json={"query": PAGE}, headers=headers)
            names[project] = [node["name"] for node in response.json["data"]["page"]["nodes"]]
    assert names == {"web": ["web-1"], "db": ["db-1"]}


def test_cursor_of_a_repeated_document_expires(harness: ApiHarness) -> None:
    for name in ("web-1", "web-2"):
        harness.create(name)
    cursor = query_data(harness, PAGE, first=1)["page"]["pageInfo"]["endCursor"]
    for _ in range(2):
        assert query_data(harness, PAGE, first=1, after=cursor)["page"]["nodes"]
    harness.clock.sleep(timedelta(hours=25).total_seconds())
    error = query_error(harness, PAGE, first=1, after=cursor)
    assert error["message"].startswith("Argument after: The cursor has expired")


def test_texts_of_a_page_are_bounded(
    harness: ApiHarness, count_executions: Callable[[], int]
) -> None:
    harness.create()
    documents = [
        f"{{ name{number}: vms {{ totalCount }} }}"
        for number in range(2 * page_texts.MAX_DOCUMENTS_OF_PAGE)
    ]
    for document in 2 * documents:
        assert list(query_data(harness, document).values()) == [{"totalCount": 1}]
    assert count_executions() == 2 * len(documents)
    # the newest are in memory
    for document in documents[-page_texts.MAX_DOCUMENTS_OF_PAGE :]:
        query_data(harness, document)
    assert count_executions() == 0


def test_long_texts_are_not_stored(
    harness: ApiHarness, count_executions: Callable[[], int]
) -> None:
    harness.create(metadata={"a": "x" * 200})
    aliases = " ".join(f"m{number}: metadata" for number in range(20))
    for _ in range(2):
        query_data(harness, f"{{ vms {{ nodes {{ {aliases} }} }} }}")
    assert count_executions() == 2


def test_integer_without_a_key_is_executed(harness: ApiHarness) -> None:
    assert query_data(harness, "{ vms { totalCount } }", unused=2**70) == {"vms": {"totalCount": 0}}
