"""Every problem, over HTTP: status, code, headers and members as the contract has them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from vmapi import errors
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.problems.types import OPERATION_MEMBERS, PROBLEM_TYPES
from vmapi.domain.catalog import Image, Network
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.services.operations import submission
from vmapi.settings.limits import parse_rate_limits
from vmapi.store.rate_counters import MemoryCounters

Ask = Callable[[ApiHarness, pytest.MonkeyPatch], TestResponse]

LATER = {"no_capacity", "build_failed", "operation_timeout", "backend_lost"}
"""Of operations and faults: test_vms.py has them."""
COME_BACK = {
    *("backend_unavailable", "store_unavailable", "issuer_unavailable"),
    *("idempotency_in_progress", "rate_limited"),
}
COMMON_MEMBERS = {
    *("type", "title", "status", "code", "detail", "instance", "request_id"),
}
STATUSES = {
    400: {"malformed_request"},
    401: {"unauthenticated"},
    403: {"forbidden", "quota_exceeded"},
    404: {"vm_not_found", "operation_not_found", "not_found"},
    405: {"method_not_allowed"},
    409: {
        *("invalid_state", "task_in_progress", "vm_locked", "name_taken"),
        "idempotency_in_progress",
    },
    412: {"precondition_failed"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    429: {"rate_limited"},
    422: {
        *("validation_error", "flavor_not_found", "image_not_found", "image_ambiguous"),
        *("network_not_found", "network_ambiguous", "key_not_found", "security_group_not_found"),
        "idempotency_key_reused",
    },
    500: {"internal_error"},
    502: {"backend_error", "build_failed", "backend_lost"},
    503: {"backend_unavailable", "store_unavailable", "issuer_unavailable", "no_capacity"},
    504: {"backend_timeout", "operation_timeout"},
}


def create(world: ApiHarness, **wanted: Any) -> TestResponse:
    return world.post("/vms", {**CREATE_BODY, **wanted})


def refusing(error: errors.VmapiError) -> Ask:
    """Have the cloud refuse an action."""

    def ask(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
        def perform(*_: object, **__: object) -> None:
            raise error

        vm_id = world.create_running()
        patch.setattr(world.backend, "perform_action", perform)
        return world.post_action(vm_id, "stop")

    return ask


def locked(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    vm_id, get = world.create_running(), world.backend.get_vm
    patch.setattr(world.backend, "get_vm", lambda vm_id: replace(get(vm_id), locked=True))
    return world.post_action(vm_id, "stop")


def doubled(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    images = [Image(id, "cirros", "active", 0, 0) for id in "12"]
    patch.setattr(world.backend, "list_images", lambda refresh=False: images)
    return create(world)


def queued(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    images = [Image("1", "cirros", "queued", 0, 0)]
    patch.setattr(world.backend, "list_images", lambda refresh=False: images)
    return create(world)


def many_networks(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    networks = [Network("2", "b"), Network("1", "")]
    patch.setattr(world.backend, "list_networks", lambda refresh=False: networks)
    return create(world)


def under_way(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    world.backend._latency = {**world.backend._latency, "stop": 9.0}  # type: ignore[dict-item]
    vm_id = world.create_running()
    world.post_action(vm_id, "stop")
    return world.post_action(vm_id, "pause")


def quota(world: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    return create(world, metadata={}, flavor="m1.xlarge")


def stale(world: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    return world.call("POST", f"/vms/{world.create_running()}/stop", headers={"If-Match": '"0-0"'})


def taken(world: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    world.create_running()
    return create(world)


def reused(world: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    headers = {"Idempotency-Key": "k"}
    world.call("POST", "/vms", json=CREATE_BODY, headers=headers)
    return world.call("POST", "/vms", json={**CREATE_BODY, "name": "web-2"}, headers=headers)


def unanswered(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    patch.setattr(submission, "FIRST_RESPONSE_TIMEOUT", 0)
    world.backend.set_faults("lost_answer=1")
    headers = {"Idempotency-Key": "k"}
    world.call("POST", "/vms", json=CREATE_BODY, headers=headers)
    return world.call("POST", "/vms", json=CREATE_BODY, headers=headers)


def crowded(world: ApiHarness, _: Any) -> TestResponse:
    places = world.services.operations._waiter.slots
    while places.acquire(blocking=False):
        pass
    return world.call("GET", "/events")


def storeless(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    def away(*_: object) -> None:
        raise errors.StoreUnavailable("vmapi's database does not answer.")

    patch.setattr(world.services.store.operations, "add", away)
    return create(world)


def gated(error: errors.VmapiError) -> Ask:
    """Have the gate refuse whoever comes."""

    def ask(world: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
        def admit(*_: object) -> None:
            raise error

        patch.setattr(world.services.authenticator, "authenticate", admit)
        return world.call("GET", "/vms")

    return ask


def hasty(world: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    limits = {"changes": parse_rate_limits("changes", "1/hour"), "address": ()}
    rates = RateLimiter(limits, MemoryCounters())
    world.app.extensions["vmapi"] = replace(world.services, rate_limiter=rates)
    create(world)
    return create(world)


def faulty(faults: str) -> Ask:
    def ask(world: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
        vm_id = world.create_running()
        world.backend.set_faults(faults)
        return world.post_action(vm_id, "stop")

    return ask


TABLE: dict[str, tuple[Ask, dict[str, Any]]] = {
    "malformed_request": (
        lambda w, _: w.call("POST", "/vms", data="{", content_type="application/json"),
        {},
    ),
    "unauthenticated": (gated(errors.Unauthenticated("Who?")), {"detail": "Who?"}),
    "issuer_unavailable": (gated(errors.IssuerUnavailable("Away.")), {"detail": "Away."}),
    "forbidden": (refusing(errors.Forbidden("Policy says no.")), {"detail": "Policy says no."}),
    "quota_exceeded": (quota, {}),
    "vm_not_found": (lambda w, _: w.call("GET", f"/vms/{UNKNOWN_ID}"), {}),
    "operation_not_found": (
        lambda w, _: w.call("GET", "/operations/x"),
        {"detail": "There is no operation x."},
    ),
    "not_found": (
        lambda w, _: w.call("GET", "/nothing"),
        {"detail": f"No resource has the URL {BASE}/nothing."},
    ),
    "method_not_allowed": (
        lambda w, _: w.call("PUT", f"/vms/{UNKNOWN_ID}"),
        {"detail": "PUT is not allowed here. Allowed methods: DELETE, GET, HEAD, OPTIONS, PATCH."},
    ),
    "invalid_state": (
        lambda w, _: w.post_action(w.create_running(), "resume"),
        {
            "detail": "VM web-1 is RUNNING; resume needs PAUSED.",
            "current_status": "RUNNING",
            "task": None,
            "allowed_actions": ["stop", "restart", "pause", "delete"],
        },
    ),
    "task_in_progress": (
        under_way,
        {
            "detail": "VM web-1 is busy stopping; wait until its task is null, or delete it.",
            "current_status": "RUNNING",
            "task": "stopping",
            "allowed_actions": ["delete"],
        },
    ),
    "vm_locked": (
        locked,
        {
            "detail": "VM web-1 is locked in the cloud; unlock it there.",
            "current_status": "RUNNING",
            "task": None,
            "allowed_actions": [],
        },
    ),
    "name_taken": (taken, {}),
    "precondition_failed": (stale, {}),
    "payload_too_large": (
        lambda w, _: create(w, user_data="x" * 1024 * 1024),
        {"detail": "The body may have at most 1048576 bytes."},
    ),
    "unsupported_media_type": (
        lambda w, _: w.call("POST", "/vms", data="{}", content_type="text/plain"),
        {"detail": "Send Content-Type: application/json; the request has text/plain."},
    ),
    "validation_error": (
        lambda w, _: create(w, nmae="x"),
        {
            "detail": "/nmae: Unknown field.",
            "errors": [{"pointer": "/nmae", "message": "Unknown field."}],
        },
    ),
    "flavor_not_found": (
        lambda w, _: create(w, flavor="m9"),
        {
            "detail": "There is no flavor m9; GET /flavors lists all.",
            "errors": [
                {
                    "pointer": "/flavor",
                    "message": "There is no flavor m9; GET /flavors lists all.",
                }
            ],
        },
    ),
    "image_not_found": (
        queued,
        {
            "detail": "Image cirros is queued, not active.",
            "errors": [{"pointer": "/image", "message": "Image cirros is queued, not active."}],
        },
    ),
    "image_ambiguous": (
        doubled,
        {"detail": "Several images are called cirros; give an id instead: 1, 2."},
    ),
    "network_not_found": (
        lambda w, _: create(w, network="dmz"),
        {"detail": "There is no network dmz; GET /networks lists all."},
    ),
    "network_ambiguous": (
        many_networks,
        {"detail": "There are several networks; name one of: 1, b."},
    ),
    "key_not_found": (lambda w, _: create(w, key_name="x"), {}),
    "security_group_not_found": (lambda w, _: create(w, security_groups=["x"]), {}),
    "backend_error": (faulty("action_failed=1"), {}),
    "backend_unavailable": (faulty("unavailable=100%"), {}),
    "backend_timeout": (faulty("lost_answer=1"), {}),
    "idempotency_key_reused": (
        reused,
        {"detail": "This Idempotency-Key came with another request before; use a new one."},
    ),
    "idempotency_in_progress": (
        unanswered,
        {"detail": "The first request with this Idempotency-Key is still being answered."},
    ),
    "rate_limited": (
        hasty,
        {"detail": "At most 1 changes of one caller are served per hour."},
    ),
    "store_unavailable": (storeless, {"detail": "vmapi's database does not answer."}),
}


def test_every_problem_is_tested_with_its_status() -> None:
    assert set(TABLE) | LATER | {"internal_error"} == set(PROBLEM_TYPES)
    assert {code: kind.status for code, kind in PROBLEM_TYPES.items()} == {
        code: status for status, codes in STATUSES.items() for code in codes
    }


@pytest.mark.parametrize("limits", ["vcpus=7"])
@pytest.mark.parametrize("code", TABLE)
def test_problem_has_status_members_and_headers(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    ask, members = TABLE[code]
    answer = ask(world, monkeypatch)
    assert answer.status_code == PROBLEM_TYPES[code].status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json
    assert problem is not None
    assert ProblemSchema().validate(problem) == {}
    assert problem["type"] == f"/problems/{code}"
    assert problem["title"] == PROBLEM_TYPES[code].title
    assert problem["status"] == answer.status_code
    assert problem["code"] == code
    assert problem["instance"] == answer.request.path
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert {name: problem[name] for name in members} == members
    assert set(problem) - COMMON_MEMBERS <= {*PROBLEM_TYPES[code].members, *OPERATION_MEMBERS}
    assert ("Retry-After" in answer.headers) == (code in COME_BACK)


def test_405_lists_allowed_methods(world: ApiHarness) -> None:
    answer = world.call("DELETE", "/flavors")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("call", [("POST", "/vms"), ("GET", "/vms"), ("GET", f"/vms/{UNKNOWN_ID}")])
def test_503_has_retry_after_and_nothing_is_sent(world: ApiHarness, call: tuple[str, str]) -> None:
    world.backend.set_faults("unavailable=100%")
    method, path = call
    answer = world.call(method, path, **({"json": CREATE_BODY} if method == "POST" else {}))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    world.backend.set_faults("")
    assert len(world.backend.list_vms()) == 0


def test_503_of_action_fails_its_operation(world: ApiHarness, monkeypatch: Any) -> None:
    answer = refusing(errors.BackendUnavailable("away", retry_after=7))(world, monkeypatch)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    (operation,) = world.get_json("/operations?action=stop")["items"]
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_unavailable")


@pytest.mark.parametrize(("verb", "path"), [("stop", "/stop"), ("delete", "")])
def test_504_names_the_operation_recovered_later(world: ApiHarness, verb: str, path: str) -> None:
    vm_id = world.create_running()
    world.backend.set_faults("lost_answer=1")
    answer = world.call("POST" if path else "DELETE", f"/vms/{vm_id}{path}")
    assert (answer.status_code, answer.json["code"]) == (504, "backend_timeout")
    assert answer.headers["Operation-Location"] == answer.json["operation"]
    operation = world.get_operation(answer)
    assert (operation["action"], operation["status"]) == (verb, "running")
    world.reconcile_once()
    assert world.get_operation(answer)["status"] == "succeeded"


def test_504_of_create_makes_one_vm(world: ApiHarness) -> None:
    world.backend.set_faults("lost_answer=1")
    answer = create(world)
    assert (answer.status_code, answer.json["code"]) == (504, "backend_timeout")
    assert world.get_operation(answer)["vm_id"] is None
    world.run_until_settled()
    operation = world.get_operation(answer)
    assert operation["status"] == "succeeded"
    vms = world.get_json("/vms")["items"]
    assert [(vm["id"], vm["status"]) for vm in vms] == [(operation["vm_id"], "STOPPED")]


def test_refusal_by_cloud_shows_vm_state(world: ApiHarness, monkeypatch: Any) -> None:
    answer = refusing(errors.InvalidState("Cannot 'stop'."))(world, monkeypatch)
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert answer.json["current_status"] == "RUNNING"
    assert answer.json["allowed_actions"] == ["stop", "restart", "pause", "delete"]


def test_500_reveals_only_the_request_id(world: ApiHarness, monkeypatch: Any) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    hooks = dict(world.app.after_request_funcs)
    monkeypatch.setattr(world.app, "after_request_funcs", {None: hooks[None][:1]})
    handlers = world.app.error_handler_spec[None][None]
    from vmapi.api.problems import responses as problems

    monkeypatch.setitem(handlers, Exception, problems.internal_error_response)
    monkeypatch.setattr(world.backend, "get_vm", broken)
    answer = world.call("GET", f"/vms/{UNKNOWN_ID}", headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.json == {
        "type": "/problems/internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "detail": "vmapi failed to process the request.",
        "instance": f"{BASE}/vms/{UNKNOWN_ID}",
        "request_id": "mine",
    }


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_problem_has_an_explanation(world: ApiHarness, code: str) -> None:
    answer = world.client.get(f"/problems/{code}")
    kind = PROBLEM_TYPES[code]
    assert answer.status_code == 200
    assert answer.json == {
        "code": code,
        "title": kind.title,
        "status": kind.status,
        "advice": kind.advice,
    }


def test_unknown_problem_code_is_404(world: ApiHarness) -> None:
    answer = world.client.get("/problems/boredom")
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["code"] == "not_found"
    assert answer.json["detail"].startswith(
        "No problem has the code boredom. The codes are malformed_"
    )
