"""Conditional requests: who has a VM as it is, and who changes one that is not as it was seen."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from vmapi.services.operations.submission import OperationSubmitter

MALFORMED = [
    *("", " ", "1-a", '"1-a', '1-a"', "''", 'w/"1-a"', "W/1-a", '"a" "b"', '"a";"b"', '*, "a"'),
    *("**", '"a b"', '"a"x', 'W/ "a"', '"\x7f"', '"a",*', ",", '"'),
]


@pytest.fixture
def backend(request: pytest.FixtureRequest, clock: Clock) -> MemoryBackend:
    """A cloud that costs nothing to ask, or one that is far away."""
    kind = RemoteBackend if getattr(request, "param", "") == "far" else MemoryBackend
    return kind(clock=clock, sleep=clock.sleep)


far = pytest.mark.parametrize("backend", ["far"], indirect=True)
near_and_far = pytest.mark.parametrize("backend", ["near", "far"], indirect=True)


@pytest.fixture
def one(world: ApiHarness) -> str:
    """A RUNNING VM, web-1."""
    vm_id = world.create_running()
    if isinstance(world.backend, RemoteBackend):
        sync_inventory(world)
    return vm_id


def read(world: ApiHarness, vm_id: str, **headers: str) -> TestResponse:
    return world.call("GET", f"/vms/{vm_id}", headers=headers)


def tag(world: ApiHarness, vm_id: str) -> str:
    found: str = read(world, vm_id).headers["ETag"]
    return found


def known(world: ApiHarness, vm_id: str, sent: str, path: str = "") -> TestResponse:
    return world.call("GET", f"/vms/{vm_id}{path}", headers={"If-None-Match": sent})


def patch(
    world: ApiHarness, vm_id: str, sent: str, value: str = "x", **headers: str
) -> TestResponse:
    body = {"metadata": {"key": value}}
    headers |= {"If-Match": sent}
    return world.call("PATCH", f"/vms/{vm_id}", json=body, headers=headers)


def refused(answer: TestResponse) -> str:
    """Return the tag that a 412 names."""
    assert (answer.status_code, answer.json["code"]) == (412, "precondition_failed")
    assert answer.json["etag"] == answer.headers["ETag"]
    assert answer.json["detail"].endswith(f"send If-Match: {answer.json['etag']}.")
    return str(answer.json["etag"])


@near_and_far
@pytest.mark.parametrize("path", ["", "/status"])
def test_if_none_match_with_current_etag_returns_304(
    world: ApiHarness, one: str, path: str
) -> None:
    first = world.call("GET", f"/vms/{one}{path}")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for sent in (etag, f"W/{etag}", "*", f'"a,b", W/"c",{etag}', f",{etag} ,", f'W/"a" ,\t{etag}'):
        answer = known(world, one, sent, path)
        assert (answer.status_code, answer.data) == (304, b""), sent
        assert answer.headers["ETag"] == etag
        assert answer.headers["Age"] in ("0", "1")
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Content-Type" not in answer.headers
        assert answer.headers["X-Request-ID"]
    for sent in ('"1"', f'"{etag[1:-1]}x"', '""', f'"W/{etag[1:]}'):
        answer = known(world, one, sent, path)
        assert (answer.status_code, answer.json) == (200, first.json)
    head = world.call("HEAD", f"/vms/{one}{path}", headers={"If-None-Match": etag})
    assert (head.status_code, head.headers["ETag"]) == (304, etag)


def test_etag_is_strong_and_shared_by_vm_and_status(world: ApiHarness, one: str) -> None:
    etag = tag(world, one)
    assert etag.startswith('"')
    assert world.call("GET", f"/vms/{one}/status").headers["ETag"] == etag
    assert tag(world, world.create_running("web-2")) != etag


def test_repeated_header_is_one_list(world: ApiHarness, one: str) -> None:
    headers = [("If-None-Match", '"a"'), ("If-None-Match", tag(world, one))]
    assert world.call("GET", f"/vms/{one}", headers=headers).status_code == 304


@near_and_far
def test_etag_changes_with_each_change(world: ApiHarness, one: str) -> None:
    tags = [tag(world, one)]
    for action in ("pause", "resume"):
        answer = world.post_action(one, action)
        if answer.status_code == 202:
            tags.append(answer.headers["ETag"])
            world.run_until_settled()
        tags.append(tag(world, one))
        assert tag(world, one) == tags[-1]
    assert len(set(tags)) == len(tags)
    assert known(world, one, ",".join(tags[:-1])).status_code == 200


@near_and_far
def test_change_response_has_etag_of_its_vm(world: ApiHarness) -> None:
    def check(answer: TestResponse, status: int) -> None:
        assert answer.status_code == status
        assert answer.json == world.get_vm(answer.json["id"])
        assert answer.headers["ETag"] == tag(world, answer.json["id"])

    under_way = None
    if isinstance(world.backend, RemoteBackend):
        under_way = 202
        sync_inventory(world)
    made = world.post("/vms", {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"})
    check(made, under_way or 201)
    world.run_until_settled()
    vm_id = made.json["id"]
    check(world.post_action(vm_id, "start"), under_way or 200)
    world.run_until_settled()
    check(world.call("PATCH", f"/vms/{vm_id}", json={"metadata": {"a": "b"}}), 200)
    deleted = world.call("DELETE", f"/vms/{vm_id}")
    assert ("ETag" in deleted.headers) == (deleted.status_code == 202)
    if under_way:
        check(deleted, 202)


@near_and_far
def test_if_match_with_old_etag_refuses_change(world: ApiHarness, one: str) -> None:
    old = tag(world, one)
    assert patch(world, one, old, "first").status_code == 200
    new = tag(world, one)
    count = world.get_json("/operations")["total"]
    for method, path in [("PATCH", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/restart")]:
        given = {"json": {"metadata": {"key": "second"}}} if method == "PATCH" else {}
        answer = world.call(method, f"/vms/{one}{path}", headers={"If-Match": old}, **given)
        assert refused(answer) == new
    assert (tag(world, one), world.get_json("/operations")["total"]) == (new, count)
    assert world.get_vm(one)["metadata"] == {"key": "first"}
    answer = world.call("POST", f"/vms/{one}/stop", headers={"If-Match": new})
    assert answer.status_code in (200, 202)


@pytest.mark.parametrize("sent", ["{}", "W/{}", '"a", {}', '"a",W/"b" , W/{}', "*", " * "])
def test_if_match_accepts_lists_weak_etags_and_wildcard(
    world: ApiHarness, one: str, sent: str
) -> None:
    assert patch(world, one, sent.format(tag(world, one))).status_code == 200


@far
def test_if_match_detects_external_change(world: ApiHarness, one: str) -> None:
    old = tag(world, one)
    world.backend.perform_action(one, Verb.PAUSE)
    assert tag(world, one) == old
    assert refused(patch(world, one, old)) == tag(world, one) != old
    assert world.get_vm(one)["status"] == "PAUSED"


@far
def test_if_match_without_cloud_is_503(world: ApiHarness, one: str) -> None:
    etag = tag(world, one)
    world.backend.set_faults("unavailable=99")
    answer = patch(world, one, etag)
    assert (answer.status_code, answer.json["code"]) == (503, "backend_unavailable")
    assert known(world, one, etag).status_code == 304


def test_if_match_is_checked_before_state(world: ApiHarness, one: str) -> None:
    old = tag(world, one)
    world.post_action(one, "stop")
    new = refused(world.call("POST", f"/vms/{one}/pause", headers={"If-Match": old}))
    answer = world.call("POST", f"/vms/{one}/pause", headers={"If-Match": new})
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")


@pytest.mark.parametrize("sent", ["*", '"1-a"'])
def test_conditional_request_for_missing_vm_is_404(world: ApiHarness, sent: str) -> None:
    for answer in (patch(world, UNKNOWN_ID, sent), known(world, UNKNOWN_ID, sent)):
        assert (answer.status_code, answer.json["code"]) == (404, "vm_not_found")


@pytest.mark.parametrize("sent", MALFORMED)
def test_malformed_condition_is_400(world: ApiHarness, one: str, sent: str) -> None:
    for answer, header in [
        (patch(world, one, sent), "If-Match"),
        (known(world, one, sent), "If-None-Match"),
        (known(world, one, sent, "/status"), "If-None-Match"),
    ]:
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_request")
        assert answer.json["detail"] == (
            f'{header} must be * or a list of entity tags in double quotes, as in ETag: "1-a".'
        )


@pytest.mark.parametrize("sent", ["*", '"1-a"', "nonsense"])
def test_unsupported_condition_is_400(world: ApiHarness, one: str, sent: str) -> None:
    bulk = {"action": "stop", "ids": [one]}
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/vms/actions", {"json": bulk}),
        ("POST", "/vms", {"json": {"name": "web-2", "flavor": "m1.tiny", "image": "cirros"}}),
        ("PATCH", f"/vms/{one}", {"json": {"metadata": {"key": "x"}}}),
        ("DELETE", f"/vms/{one}", {}),
        ("POST", f"/vms/{one}/stop", {}),
        ("POST", f"/vms/{one}/restart", {}),
    ]
    old, count = tag(world, one), world.get_json("/operations")["total"]
    for method, path, sends in changes:
        answer = world.call(method, path, headers={"If-None-Match": sent}, **sends)
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_request")
        assert answer.json["detail"] == (
            "If-None-Match applies to reads. To change a VM only if it is unchanged, send its ETag "
            "in If-Match."
        )
    for method, path, sends in changes[:2]:
        answer = world.call(method, path, headers={"If-Match": sent}, **sends)
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_request")
        assert answer.json["detail"] == (
            "If-Match applies to the change of one VM. Change the VMs one by one, each with its "
            "own ETag, or omit If-Match."
        )
    assert (tag(world, one), world.get_json("/operations")["total"]) == (old, count)


header = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
tags = st.lists(header.map(lambda text: f'"{text}"'), max_size=4).map(", ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(sent='"' * 8000)
@example(sent="," * 8000)
@example(sent='"",' * 2600 + "x")
@given(sent=header | tags)
def test_arbitrary_condition_never_crashes(world: ApiHarness, sent: str) -> None:
    vms = world.get_json("/vms")["items"]
    vm_id = str(vms[0]["id"]) if vms else world.create_running()
    any_one = sent.strip(" \t") == "*"
    assert known(world, vm_id, sent).status_code in ((304,) if any_one else (200, 400))
    assert patch(world, vm_id, sent).status_code in ((200,) if any_one else (400, 412))


def test_replay_ignores_if_match(world: ApiHarness, one: str) -> None:
    old = tag(world, one)
    key = {"Idempotency-Key": "k"}
    first = patch(world, one, old, **key)
    again = patch(world, one, old, **key)
    assert (first.status_code, again.status_code, again.json) == (200, 200, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"] != old
    world.post_action(one, "pause")
    assert patch(world, one, '"other"', **key).json["status"] == "PAUSED"


def test_failed_precondition_releases_idempotency_key(world: ApiHarness, one: str) -> None:
    key = {"Idempotency-Key": "k"}
    new = refused(patch(world, one, '"0-0"', **key))
    assert patch(world, one, new, **key).status_code == 200


def test_repeat_during_admission_is_replayed(
    world: ApiHarness, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, key = tag(world, one), {"Idempotency-Key": "k"}
    first = patch(world, one, old, **key)
    earlier, asked = OperationSubmitter.replay, []

    def not_yet(self: OperationSubmitter, caller: Any) -> Any:
        asked.append(caller)
        return None if len(asked) == 1 else earlier(self, caller)

    monkeypatch.setattr(OperationSubmitter, "replay", not_yet)
    again = patch(world, one, old, **key)
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"


def at_once(count: int, call: Callable[[int], TestResponse]) -> list[TestResponse]:
    start = Barrier(count)

    def run(number: int) -> TestResponse:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@near_and_far
def test_one_of_concurrent_changes_with_same_etag_wins(world: ApiHarness, one: str) -> None:
    for _ in range(5):
        world.run_until_settled()
        etag = tag(world, one)
        answers = at_once(4, lambda at: patch(world, one, etag, f"{at}"))  # noqa: B023
        (won,) = (at for at, answer in enumerate(answers) if answer.status_code == 200)
        for at, answer in enumerate(answers):
            if at != won:
                assert refused(answer) != etag
        assert world.get_vm(one)["metadata"] == {"key": f"{won}"}


@pytest.mark.parametrize("threads", [16])
@near_and_far
def test_concurrent_repeats_of_one_request_all_succeed(world: ApiHarness, one: str) -> None:
    for number in range(5):
        world.run_until_settled()
        etag, key = tag(world, one), {"Idempotency-Key": f"k{number}"}
        answers = at_once(4, lambda _: patch(world, one, etag, f"{number}", **key))  # noqa: B023
        assert [answer.status_code for answer in answers] == [200] * 4
        assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 3
