"""Selectors over HTTP: lists, cursors, bulk actions, and errors with their place."""

from urllib.parse import quote

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.problem_responses import check_problem

METADATA = {
    "web-1": {"env": "prod", "tier": "web"},
    "web-2": {"env": "dev", "cost center": 'R&D, "Berlin"'},
    "web-3": {},
}


@pytest.fixture
def ids(harness: ApiHarness) -> dict[str, str]:
    """The ids of three VMs with different metadata, by name."""
    created = {name: harness.create(name, metadata=pairs)["id"] for name, pairs in METADATA.items()}
    harness.run_until_settled()
    return created


def list_names(harness: ApiHarness, selector: str, **query: str) -> list[str]:
    parameters = {"selector": selector, "sort": "name", **query}
    items = harness.get_json("/vms", query_string=parameters)["items"]
    return [vm["name"] for vm in items]


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("env=prod", ["web-1"]),
        ("env", ["web-1", "web-2"]),
        ("!env", ["web-3"]),
        ("env!=prod", ["web-2", "web-3"]),
        ("env in (prod,dev),!tier", ["web-2"]),
        ("env notin (dev)", ["web-1", "web-3"]),
        ('"cost center"="R&D, \\"Berlin\\""', ["web-2"]),
        ("ENV=prod", []),
        ("env=Prod", []),
    ],
)
def test_list_selects_vms_by_metadata(harness: ApiHarness, selector: str, names: list[str]) -> None:
    assert list_names(harness, selector) == names
    all_statuses = "&".join(
        f"status={name}" for name in ("STOPPED", "RUNNING", "DELETED", "BUILDING")
    )
    page = harness.get_json(f"/vms?selector={quote(selector)}&{all_statuses}&sort=name")
    assert [vm["name"] for vm in page["items"]] == names


def test_list_by_selector_follows_a_patch(harness: ApiHarness, ids: dict[str, str]) -> None:
    assert list_names(harness, "env=prod") == ["web-1"]
    patch = {"metadata": {"env": "prod"}}
    assert harness.call("PATCH", f"/vms/{ids['web-3']}", json=patch).status_code in (200, 202)
    harness.run_until_settled()
    assert list_names(harness, "env=prod") == ["web-1", "web-3"]


@pytest.mark.usefixtures("ids")
def test_cursor_contains_the_selector_with_its_quotes(harness: ApiHarness) -> None:
    selector = '"cost center"!="a, \\"b\\""'
    query = {"selector": selector, "sort": "name", "page_size": "1"}
    page, names = harness.get_json("/vms", query_string=query), []
    while True:
        names += [vm["name"] for vm in page["items"]]
        assert page["total"] == 3
        if page["next"] is None:
            break
        page = harness.client.get(page["next"]).json
    assert names == ["web-1", "web-2", "web-3"]


@pytest.mark.parametrize(
    ("selector", "message", "offset"),
    [
        ("env=prod,!", "Character 11: Found the end, expected a key", 10),
        (
            "env prod",
            "Character 5: Found `prod`, expected =, ==, !=, in, notin, a comma or the end",
            4,
        ),
        ("", "Character 1: Found the end, expected a key", 0),
    ],
)
def test_invalid_selector_is_refused_with_its_place(
    harness: ApiHarness, selector: str, message: str, offset: int
) -> None:
    message += "; keys and values with other characters stand in double quotes."
    response = harness.call("GET", "/vms", query_string={"selector": selector})
    problem = check_problem(response, 422, "validation_error")
    assert problem["errors"] == [{"pointer": "/selector", "message": message, "offset": offset}]
    body = {"action": "delete", "filter": {"selector": selector}}
    problem = check_problem(harness.post("/vms/actions", body), 422, "validation_error")
    assert problem["errors"] == [
        {"pointer": "/filter/selector", "message": message, "offset": offset}
    ]


def test_bulk_action_selects_vms_by_metadata(harness: ApiHarness, ids: dict[str, str]) -> None:
    body = {"action": "delete", "filter": {"selector": "env in (prod, dev), !tier"}}
    response = harness.post("/vms/actions", body)
    assert [item["vm_id"] for item in response.json["items"]] == [ids["web-2"]]
    assert "detail" not in response.json
    harness.run_until_settled()
    assert list_names(harness, "!nothing") == ["web-1", "web-3"]


@pytest.mark.usefixtures("ids")
def test_bulk_action_states_that_the_selector_selects_no_vm(harness: ApiHarness) -> None:
    body = {"action": "delete", "filter": {"selector": "env=production"}}
    for _ in range(2):
        headers = {"Idempotency-Key": "key"}
        response = harness.call("POST", "/vms/actions", json=body, headers=headers)
        assert (response.status_code, response.json["items"]) == (200, [])
        assert response.json["detail"] == "The filter selects no VM: nothing was done."
    assert len(list_names(harness, "!nothing")) == 3


def test_repeat_with_another_spelling_of_the_selector_is_a_replay(harness: ApiHarness) -> None:
    headers = {"Idempotency-Key": "key"}
    for selector in ("a in (b,c),d", ' d , a in ("c",b,b)'):
        body = {"action": "stop", "filter": {"selector": selector}}
        response = harness.call("POST", "/vms/actions", json=body, headers=headers)
        assert response.status_code == 200
    assert response.headers["Idempotent-Replayed"] == "true"
    body = {"action": "stop", "filter": {"selector": "a notin (b,c),d"}}
    response = harness.call("POST", "/vms/actions", json=body, headers=headers)
    check_problem(response, 422, "idempotency_key_reused")
