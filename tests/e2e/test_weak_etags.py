"""Conditional requests and walks through nginx, which compresses and so weakens tags."""

import pytest

from tests.support.http_client import HttpClient, HttpResponse, wait_until

VMS = "/api/v1/vms"
WANTED = {"flavor": "m1.tiny", "image": "cirros", "metadata": {"note": "x" * 255}}
LARGE = {**WANTED, "metadata": {f"note-{number}": "x" * 255 for number in range(8)}}


@pytest.fixture
def vm(call: HttpClient) -> str:
    """The path of a VM that nginx compresses."""
    made = call("POST", VMS, {**LARGE, "name": "large-1"})
    where: str = made.headers["Location"]
    wait_until("the VM", lambda: call.get_json(where)["task"] is None)
    return where


def read(call: HttpClient, path: str, **headers: str) -> HttpResponse:
    return call("GET", path, headers={"Accept-Encoding": "gzip", **headers})


def test_a_weakened_tag_is_good_for_both(call: HttpClient, vm: str) -> None:
    plain = call("GET", vm).headers["ETag"]
    zipped = read(call, vm)
    assert zipped.headers["Content-Encoding"] == "gzip"
    weak = zipped.headers["ETag"]
    assert weak == f"W/{plain}"
    for sent in (weak, plain):
        answer = read(call, vm, **{"If-None-Match": sent})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"].removeprefix("W/") == plain
        assert answer.headers["Age"] == "0"
    change = {"metadata": {"note-0": "changed"}}
    changed = call("PATCH", vm, change, headers={"If-Match": weak})
    assert changed.status in (200, 202)
    wait_until("the change", lambda: call.get_json(vm)["task"] is None)
    late = call("PATCH", vm, change, headers={"If-Match": weak})
    problem = late.check_problem(412, "precondition_failed")
    assert problem["etag"] == late.headers["ETag"] == call("GET", vm).headers["ETag"]
    fresh = read(call, vm, **{"If-None-Match": weak})
    assert (fresh.status, fresh.headers["Content-Encoding"]) == (200, "gzip")
    call("DELETE", vm)


def test_a_walk_by_next(call: HttpClient) -> None:
    made = [call("POST", VMS, {**WANTED, "name": f"walked-{number}"}) for number in range(3)]
    url: str | None = f"{VMS}?name=walked*&page_size=1&created_after=2000-01-01T00:00:00Z"
    names = []
    while url:
        page = call.get_json(url)
        names += [vm["name"] for vm in page["items"]]
        url = page["next"]
    assert names == ["walked-2", "walked-1", "walked-0"]
    for one in made:
        call("DELETE", one.headers["Location"])
