"""Long lists: refused by their length, at little cost and with few errors."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness

BODY_CHARS = 128 * 1024
CALLS_OF_A_REFUSAL = 20_000
MAX_CALLS_PER_ITEM = 6
"""The check of the depth has up to five; an error for each item of a marshmallow list has 16."""

ITEMS: dict[str, Any] = {
    "number": 1,
    "null": None,
    "empty": "",
    "list": [],
    "object": {},
    "text": "x",
    "NUL": "\0",
}
LISTS = {
    "ids": ("/vms/actions", {"action": "stop"}, 1000),
    "ssh_keys": ("/vms", CREATE_BODY, 64),
    "security_groups": ("/vms", CREATE_BODY, 64),
    "status": ("/vms/actions", {"action": "stop"}, 64),
}


def build_body(name: str, items: list[Any]) -> dict[str, Any]:
    """Return a body with a list, which is a member of `filter` for the status."""
    members = LISTS[name][1]
    return {
        **members,
        **({"filter": {name: items}} if name == "status" else {name: items}),
    }


@contextmanager
def count_calls() -> Iterator[list[int]]:
    """Yield the number of calls of functions in this thread, in a list of one item."""
    count = [0]

    def on_event(_: FrameType, event: str, __: object) -> None:
        count[0] += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        yield count
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("name", LISTS)
def test_long_list_is_refused_by_its_length(harness: ApiHarness, name: str, kind: str) -> None:
    path, _, max_items = LISTS[name]
    count = BODY_CHARS // len(json.dumps(ITEMS[kind]) + ",")
    body = json.dumps(build_body(name, [ITEMS[kind]] * count), separators=(",", ":"))
    with count_calls() as calls:
        response = harness.call("POST", path, data=body, content_type="application/json")
    assert calls[0] < CALLS_OF_A_REFUSAL + MAX_CALLS_PER_ITEM * count
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    (error,) = (error for error in response.json["errors"] if error["pointer"].endswith(name))
    assert str(max_items) in error["message"]
    assert len(response.data) < 2000


@pytest.mark.parametrize("name", LISTS)
def test_response_lists_20_errors_at_most(harness: ApiHarness, name: str) -> None:
    path, _, max_items = LISTS[name]
    response = harness.post(path, build_body(name, [1] * max_items))
    assert response.status_code == 422
    pointers = [error["pointer"] for error in response.json["errors"]]
    prefix = "/filter/status" if name == "status" else f"/{name}"
    assert pointers == [f"{prefix}/{index}" for index in range(20)]


@pytest.mark.parametrize("items", ["x", 1, None, {}, {"a": 1}])
@pytest.mark.parametrize("name", LISTS)
def test_value_that_is_no_list_is_refused(harness: ApiHarness, name: str, items: Any) -> None:
    response = harness.post(LISTS[name][0], build_body(name, items))
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert len(response.json["errors"]) <= 2


def test_status_parameter_is_refused_by_its_number(harness: ApiHarness) -> None:
    query = "&".join(["status=RUNNING"] * 65)
    assert harness.call("GET", f"/vms?{query}").status_code == 422
    assert harness.call("GET", "/vms?status=RUNNING&status=ERROR").status_code == 200
    assert harness.call("GET", "/vms?status=").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/vms", {**CREATE_BODY, "metadata": {f"/{n}": 1 for n in range(127)}}),
        ("POST", "/vms", {**CREATE_BODY, **{f"member-{n}": 1 for n in range(127)}}),
        (
            "PATCH",
            f"/vms/{UNKNOWN_ID}",
            {"metadata": {f"/{n}": None for n in range(127)}},
        ),
    ],
)
def test_object_with_many_bad_members_lists_20_errors(
    harness: ApiHarness, method: str, path: str, body: Any
) -> None:
    response = harness.client.open(BASE + path, method=method, json=body)
    assert response.status_code == 422
    assert len(response.json["errors"]) == 20
