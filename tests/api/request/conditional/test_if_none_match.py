"""ETags of VMs, and reads with If-None-Match."""

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from tests.support.conditional_requests import get_etag, get_if_none_match, on_both_clouds
from tests.support.remote_cloud import RemoteBackend, sync_inventory


@on_both_clouds
@pytest.mark.parametrize("path", ["", "/status"])
def test_if_none_match_with_current_etag_returns_304(
    harness: ApiHarness, running_vm_id: str, path: str
) -> None:
    first = harness.call("GET", f"/vms/{running_vm_id}{path}")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for sent in (etag, f"W/{etag}", "*", f'"a,b", W/"c",{etag}', f",{etag} ,", f'W/"a" ,\t{etag}'):
        response = get_if_none_match(harness, running_vm_id, sent, path)
        assert (response.status_code, response.data) == (304, b""), sent
        assert response.headers["ETag"] == etag
        assert response.headers["Age"] in ("0", "1")
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert "Content-Type" not in response.headers
        assert response.headers["X-Request-ID"]
    for sent in ('"1"', f'"{etag[1:-1]}x"', '""', f'"W/{etag[1:]}'):
        response = get_if_none_match(harness, running_vm_id, sent, path)
        assert (response.status_code, response.json) == (200, first.json)
    head = harness.call("HEAD", f"/vms/{running_vm_id}{path}", headers={"If-None-Match": etag})
    assert (head.status_code, head.headers["ETag"]) == (304, etag)


def test_etag_is_strong_and_shared_by_vm_and_status(
    harness: ApiHarness, running_vm_id: str
) -> None:
    etag = get_etag(harness, running_vm_id)
    assert etag.startswith('"')
    assert harness.call("GET", f"/vms/{running_vm_id}/status").headers["ETag"] == etag
    assert get_etag(harness, harness.create_running("web-2")) != etag


def test_repeated_header_is_one_list(harness: ApiHarness, running_vm_id: str) -> None:
    headers = [("If-None-Match", '"a"'), ("If-None-Match", get_etag(harness, running_vm_id))]
    assert harness.call("GET", f"/vms/{running_vm_id}", headers=headers).status_code == 304


@on_both_clouds
def test_etag_changes_with_each_change(harness: ApiHarness, running_vm_id: str) -> None:
    tags = [get_etag(harness, running_vm_id)]
    for action in ("pause", "resume"):
        response = harness.post_action(running_vm_id, action)
        if response.status_code == 202:
            tags.append(response.headers["ETag"])
            harness.run_until_settled()
        tags.append(get_etag(harness, running_vm_id))
        assert get_etag(harness, running_vm_id) == tags[-1]
    assert len(set(tags)) == len(tags)
    assert get_if_none_match(harness, running_vm_id, ",".join(tags[:-1])).status_code == 200


@on_both_clouds
def test_change_response_has_etag_of_its_vm(harness: ApiHarness) -> None:
    def check(response: TestResponse, status: int) -> None:
        assert response.status_code == status
        assert response.json == harness.get_vm(response.json["id"])
        assert response.headers["ETag"] == get_etag(harness, response.json["id"])

    under_way = None
    if isinstance(harness.backend, RemoteBackend):
        under_way = 202
        sync_inventory(harness)
    created = harness.post("/vms", {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"})
    check(created, under_way or 201)
    harness.run_until_settled()
    vm_id = created.json["id"]
    check(harness.post_action(vm_id, "start"), under_way or 200)
    harness.run_until_settled()
    check(harness.call("PATCH", f"/vms/{vm_id}", json={"metadata": {"a": "b"}}), 200)
    deleted = harness.call("DELETE", f"/vms/{vm_id}")
    assert ("ETag" in deleted.headers) == (deleted.status_code == 202)
    if under_way:
        check(deleted, 202)
