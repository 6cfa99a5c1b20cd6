"""Changes with If-Match."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from tests.support.conditional_requests import (
    check_precondition_failed,
    get_etag,
    get_if_none_match,
    on_both_clouds,
    on_remote_cloud,
    patch_if_match,
)
from vmapi.domain.lifecycle import Verb


@on_both_clouds
def test_if_match_with_old_etag_refuses_change(harness: ApiHarness, running_vm_id: str) -> None:
    old = get_etag(harness, running_vm_id)
    assert patch_if_match(harness, running_vm_id, old, "first").status_code == 200
    new = get_etag(harness, running_vm_id)
    count = harness.get_json("/operations")["total"]
    for method, path in [("PATCH", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/restart")]:
        kwargs = {"json": {"metadata": {"key": "second"}}} if method == "PATCH" else {}
        response = harness.call(
            method, f"/vms/{running_vm_id}{path}", headers={"If-Match": old}, **kwargs
        )
        assert check_precondition_failed(response) == new
    assert (get_etag(harness, running_vm_id), harness.get_json("/operations")["total"]) == (
        new,
        count,
    )
    assert harness.get_vm(running_vm_id)["metadata"] == {"key": "first"}
    response = harness.call("POST", f"/vms/{running_vm_id}/stop", headers={"If-Match": new})
    assert response.status_code in (200, 202)


@pytest.mark.parametrize("sent", ["{}", "W/{}", '"a", {}', '"a",W/"b" , W/{}', "*", " * "])
def test_if_match_accepts_lists_weak_etags_and_wildcard(
    harness: ApiHarness, running_vm_id: str, sent: str
) -> None:
    assert (
        patch_if_match(
            harness, running_vm_id, sent.format(get_etag(harness, running_vm_id))
        ).status_code
        == 200
    )


@on_remote_cloud
def test_if_match_detects_external_change(harness: ApiHarness, running_vm_id: str) -> None:
    old = get_etag(harness, running_vm_id)
    harness.backend.perform_action(running_vm_id, Verb.PAUSE)
    assert get_etag(harness, running_vm_id) == old
    assert (
        check_precondition_failed(patch_if_match(harness, running_vm_id, old))
        == get_etag(harness, running_vm_id)
        != old
    )
    assert harness.get_vm(running_vm_id)["status"] == "PAUSED"


@on_remote_cloud
def test_if_match_without_cloud_is_503(harness: ApiHarness, running_vm_id: str) -> None:
    etag = get_etag(harness, running_vm_id)
    harness.backend.set_faults("unavailable=99")
    response = patch_if_match(harness, running_vm_id, etag)
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
    assert get_if_none_match(harness, running_vm_id, etag).status_code == 304


def test_if_match_is_checked_before_state(harness: ApiHarness, running_vm_id: str) -> None:
    old = get_etag(harness, running_vm_id)
    harness.post_action(running_vm_id, "stop")
    new = check_precondition_failed(
        harness.call("POST", f"/vms/{running_vm_id}/pause", headers={"If-Match": old})
    )
    response = harness.call("POST", f"/vms/{running_vm_id}/pause", headers={"If-Match": new})
    assert (response.status_code, response.json["code"]) == (409, "invalid_state")


def test_replay_ignores_if_match(harness: ApiHarness, running_vm_id: str) -> None:
    old = get_etag(harness, running_vm_id)
    key = {"Idempotency-Key": "k"}
    first = patch_if_match(harness, running_vm_id, old, **key)
    again = patch_if_match(harness, running_vm_id, old, **key)
    assert (first.status_code, again.status_code, again.json) == (200, 200, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"] != old
    harness.post_action(running_vm_id, "pause")
    assert patch_if_match(harness, running_vm_id, '"other"', **key).json["status"] == "PAUSED"


def test_failed_precondition_releases_idempotency_key(
    harness: ApiHarness, running_vm_id: str
) -> None:
    key = {"Idempotency-Key": "k"}
    new = check_precondition_failed(patch_if_match(harness, running_vm_id, '"0-0"', **key))
    assert patch_if_match(harness, running_vm_id, new, **key).status_code == 200


def test_repeat_during_admission_is_replayed(
    harness: ApiHarness, running_vm_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, key = get_etag(harness, running_vm_id), {"Idempotency-Key": "k"}
    first = patch_if_match(harness, running_vm_id, old, **key)
    operations, keys = harness.services.store.operations, []
    find_by_key = operations.find_by_key

    def miss_first(key: Any) -> Any:
        keys.append(key)
        return None if len(keys) == 1 else find_by_key(key)

    monkeypatch.setattr(operations, "find_by_key", miss_first)
    again = patch_if_match(harness, running_vm_id, old, **key)
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"


def run_concurrently(count: int, call: Callable[[int], TestResponse]) -> list[TestResponse]:
    start = Barrier(count)

    def run(number: int) -> TestResponse:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@on_both_clouds
def test_one_of_concurrent_changes_with_same_etag_wins(
    harness: ApiHarness, running_vm_id: str
) -> None:
    for _ in range(5):
        harness.run_until_settled()
        etag = get_etag(harness, running_vm_id)

        def change(number: int, etag: str = etag) -> TestResponse:
            return patch_if_match(harness, running_vm_id, etag, f"{number}")

        responses = run_concurrently(4, change)
        (won,) = (at for at, response in enumerate(responses) if response.status_code == 200)
        for at, response in enumerate(responses):
            if at != won:
                assert check_precondition_failed(response) != etag
        assert harness.get_vm(running_vm_id)["metadata"] == {"key": f"{won}"}


@pytest.mark.parametrize("threads", [16])
@on_both_clouds
def test_concurrent_repeats_of_one_request_all_succeed(
    harness: ApiHarness, running_vm_id: str
) -> None:
    for number in range(5):
        harness.run_until_settled()
        etag, key = get_etag(harness, running_vm_id), {"Idempotency-Key": f"k{number}"}
        repeat = partial(patch_if_match, harness, running_vm_id, etag, f"{number}", **key)
        responses = run_concurrently(4, lambda _, repeat=repeat: repeat())
        assert [response.status_code for response in responses] == [200] * 4
        assert sum("Idempotent-Replayed" in response.headers for response in responses) == 3
