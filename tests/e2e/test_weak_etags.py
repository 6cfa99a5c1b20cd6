"""Conditional requests and pagination through nginx, which weakens ETags by compression."""

import pytest

from tests.support.http_client import HttpClient, HttpResponse, wait_until

VMS = "/api/v1/vms"
CREATE_BODY = {"flavor": "m1.tiny", "image": "cirros", "metadata": {"note": "x" * 255}}
LARGE_BODY = {**CREATE_BODY, "metadata": {f"note-{number}": "x" * 255 for number in range(8)}}


@pytest.fixture
def vm(call: HttpClient) -> str:
    """Create a VM with a response that nginx compresses; return its path."""
    created = call("POST", VMS, {**LARGE_BODY, "name": "large-1"})
    path: str = created.headers["Location"]
    wait_until("the VM", lambda: call.get_json(path)["task"] is None)
    return path


def read(call: HttpClient, path: str, **headers: str) -> HttpResponse:
    return call("GET", path, headers={"Accept-Encoding": "gzip", **headers})


def test_weakened_etag_works_in_conditional_requests(call: HttpClient, vm: str) -> None:
    plain = call("GET", vm).headers["ETag"]
    compressed = read(call, vm)
    assert compressed.headers["Content-Encoding"] == "gzip"
    weak_tag = compressed.headers["ETag"]
    assert weak_tag == f"W/{plain}"
    for tag in (weak_tag, plain):
        answer = read(call, vm, **{"If-None-Match": tag})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"].removeprefix("W/") == plain
        assert answer.headers["Age"] == "0"
    change = {"metadata": {"note-0": "changed"}}
    changed = call("PATCH", vm, change, headers={"If-Match": weak_tag})
    assert changed.status in (200, 202)
    wait_until("the change", lambda: call.get_json(vm)["task"] is None)
    late = call("PATCH", vm, change, headers={"If-Match": weak_tag})
    problem = late.check_problem(412, "precondition_failed")
    assert problem["etag"] == late.headers["ETag"] == call("GET", vm).headers["ETag"]
    fresh = read(call, vm, **{"If-None-Match": weak_tag})
    assert (fresh.status, fresh.headers["Content-Encoding"]) == (200, "gzip")
    call("DELETE", vm)


def test_pages_are_linked_by_next(call: HttpClient) -> None:
    created = [
        call("POST", VMS, {**CREATE_BODY, "name": f"listed-{number}"}) for number in range(3)
    ]
    url: str | None = f"{VMS}?name=listed*&page_size=1&created_after=2000-01-01T00:00:00Z"
    names = []
    while url:
        page = call.get_json(url)
        names += [vm["name"] for vm in page["items"]]
        url = page["next"]
    assert names == ["listed-2", "listed-1", "listed-0"]
    for answer in created:
        call("DELETE", answer.headers["Location"])
