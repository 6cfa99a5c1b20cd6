"""Conditional requests: If-None-Match for reads, If-Match for changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.fake_clock import Clock
from tests.support.remote_cloud import RemoteBackend, sync_inventory
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb

MALFORMED = [
    *("", " ", "1-a", '"1-a', '1-a"', "''", 'w/"1-a"', "W/1-a", '"a" "b"', '"a";"b"', '*, "a"'),
    *("**", '"a b"', '"a"x', 'W/ "a"', '"\x7f"', '"a",*', ",", '"'),
]


@pytest.fixture
def backend(request: pytest.FixtureRequest, clock: Clock) -> MemoryBackend:
    """The instant memory cloud, or the remote one."""
    kind = RemoteBackend if getattr(request, "param", "") == "far" else MemoryBackend
    return kind(clock=clock, sleep=clock.sleep)


on_remote_cloud = pytest.mark.parametrize("backend", ["far"], indirect=True)
on_both_clouds = pytest.mark.parametrize("backend", ["near", "far"], indirect=True)


@pytest.fixture
def running_vm_id(harness: ApiHarness) -> str:
    """A RUNNING VM, web-1."""
    vm_id = harness.create_running()
    if isinstance(harness.backend, RemoteBackend):
        sync_inventory(harness)
    return vm_id


def read_vm(harness: ApiHarness, vm_id: str, **headers: str) -> TestResponse:
    return harness.call("GET", f"/vms/{vm_id}", headers=headers)


def get_etag(harness: ApiHarness, vm_id: str) -> str:
    found: str = read_vm(harness, vm_id).headers["ETag"]
    return found


def get_if_none_match(harness: ApiHarness, vm_id: str, sent: str, path: str = "") -> TestResponse:
    return harness.call("GET", f"/vms/{vm_id}{path}", headers={"If-None-Match": sent})


def patch_if_match(
    harness: ApiHarness, vm_id: str, sent: str, value: str = "x", **headers: str
) -> TestResponse:
    body = {"metadata": {"key": value}}
    headers |= {"If-Match": sent}
    return harness.call("PATCH", f"/vms/{vm_id}", json=body, headers=headers)


def check_precondition_failed(response: TestResponse) -> str:
    """Check a 412 response and return its entity tag."""
    assert (response.status_code, response.json["code"]) == (412, "precondition_failed")
    assert response.json["etag"] == response.headers["ETag"]
    assert response.json["detail"].endswith(f"send If-Match: {response.json['etag']}.")
    return str(response.json["etag"])


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


@pytest.mark.parametrize("sent", ["*", '"1-a"'])
def test_conditional_request_for_missing_vm_is_404(harness: ApiHarness, sent: str) -> None:
    for response in (
        patch_if_match(harness, UNKNOWN_ID, sent),
        get_if_none_match(harness, UNKNOWN_ID, sent),
    ):
        assert (response.status_code, response.json["code"]) == (404, "vm_not_found")


@pytest.mark.parametrize("sent", MALFORMED)
def test_malformed_condition_is_400(harness: ApiHarness, running_vm_id: str, sent: str) -> None:
    for response, header in [
        (patch_if_match(harness, running_vm_id, sent), "If-Match"),
        (get_if_none_match(harness, running_vm_id, sent), "If-None-Match"),
        (get_if_none_match(harness, running_vm_id, sent, "/status"), "If-None-Match"),
    ]:
        assert (response.status_code, response.json["code"]) == (400, "malformed_request")
        assert response.json["detail"] == (
            f'{header} must be * or a list of entity tags in double quotes, as in ETag: "1-a".'
        )


@pytest.mark.parametrize("sent", ["*", '"1-a"', "nonsense"])
def test_unsupported_condition_is_400(harness: ApiHarness, running_vm_id: str, sent: str) -> None:
    bulk = {"action": "stop", "ids": [running_vm_id]}
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/vms/actions", {"json": bulk}),
        ("POST", "/vms", {"json": {"name": "web-2", "flavor": "m1.tiny", "image": "cirros"}}),
        ("PATCH", f"/vms/{running_vm_id}", {"json": {"metadata": {"key": "x"}}}),
        ("DELETE", f"/vms/{running_vm_id}", {}),
        ("POST", f"/vms/{running_vm_id}/stop", {}),
        ("POST", f"/vms/{running_vm_id}/restart", {}),
    ]
    old, count = get_etag(harness, running_vm_id), harness.get_json("/operations")["total"]
    for method, path, sends in changes:
        response = harness.call(method, path, headers={"If-None-Match": sent}, **sends)
        assert (response.status_code, response.json["code"]) == (400, "malformed_request")
        assert response.json["detail"] == (
            "If-None-Match applies to reads. To change a VM only if it is unchanged, send its ETag "
            "in If-Match."
        )
    for method, path, sends in changes[:2]:
        response = harness.call(method, path, headers={"If-Match": sent}, **sends)
        assert (response.status_code, response.json["code"]) == (400, "malformed_request")
        assert response.json["detail"] == (
            "A create has no VM to compare: omit If-Match."
            if path == "/vms"
            else "If-Match applies to the change of one VM. Change the VMs one by one, each with "
            "its own ETag, or omit If-Match."
        )
    assert (get_etag(harness, running_vm_id), harness.get_json("/operations")["total"]) == (
        old,
        count,
    )


header = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
tags = st.lists(header.map(lambda text: f'"{text}"'), max_size=4).map(", ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(sent='"' * 8000)
@example(sent="," * 8000)
@example(sent='"",' * 2600 + "x")
@given(sent=header | tags)
def test_arbitrary_condition_never_crashes(harness: ApiHarness, sent: str) -> None:
    vms = harness.get_json("/vms")["items"]
    vm_id = str(vms[0]["id"]) if vms else harness.create_running()
    any_one = sent.strip(" \t") == "*"
    assert get_if_none_match(harness, vm_id, sent).status_code in (
        (304,) if any_one else (200, 400)
    )
    assert patch_if_match(harness, vm_id, sent).status_code in ((200,) if any_one else (400, 412))


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
