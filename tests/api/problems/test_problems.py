"""Every problem over HTTP: status, code, headers and members."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from vmapi import errors
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.problems.types import OPERATION_MEMBERS, PROBLEM_TYPES
from vmapi.backends.memory.instance import Instance
from vmapi.domain.catalog import Image, Network
from vmapi.domain.lifecycle import Verb
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.services.operations import idempotency
from vmapi.settings.limits import parse_rate_limits
from vmapi.store.rate_counters import MemoryCounters

Ask = Callable[[ApiHarness, pytest.MonkeyPatch], TestResponse]

LATER = {"no_capacity", "build_failed", "operation_timeout", "backend_lost", "bulk_incomplete"}
"""Problems of operations and faults, tested in test_vms.py and test_bulk_operations.py."""
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
        *("idempotency_in_progress", "bulk_incomplete"),
    },
    412: {"precondition_failed"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    429: {"rate_limited"},
    422: {
        *("validation_error", "flavor_not_found", "image_not_found", "image_ambiguous"),
        *("network_not_found", "network_ambiguous", "key_not_found", "security_group_not_found"),
        *("security_group_ambiguous", "idempotency_key_reused"),
    },
    500: {"internal_error"},
    502: {"backend_error", "build_failed", "backend_lost"},
    503: {"backend_unavailable", "store_unavailable", "issuer_unavailable", "no_capacity"},
    504: {"backend_timeout", "operation_timeout"},
}


def create(harness: ApiHarness, **fields: Any) -> TestResponse:
    return harness.post("/vms", {**CREATE_BODY, **fields})


def refused_by_cloud(error: errors.VmapiError) -> Ask:
    """Return a request that the cloud refuses with an error."""

    def ask(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
        def perform(*_: object, **__: object) -> None:
            raise error

        vm_id = harness.create_running()
        patch.setattr(harness.backend, "perform_action", perform)
        return harness.post_action(vm_id, "stop")

    return ask


def locked_vm(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    to_vm = Instance.to_vm
    patch.setattr(Instance, "to_vm", lambda instance: replace(to_vm(instance), locked=True))
    vm_id = harness.create_running()
    return harness.post_action(vm_id, "stop")


def ambiguous_image(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    images = [Image(id, "cirros", "active", 0, 0) for id in "12"]
    patch.setattr(harness.backend, "list_images", lambda refresh=False: images)
    return create(harness)


def ambiguous_security_group(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    def refuse(*_: object, **__: object) -> None:
        raise errors.SecurityGroupAmbiguous("The cloud refuses: Multiple security groups found …")

    patch.setattr(harness.backend, "create_vm", refuse)
    return create(harness, security_groups=["web"])


def inactive_image(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    images = [Image("1", "cirros", "queued", 0, 0)]
    patch.setattr(harness.backend, "list_images", lambda refresh=False: images)
    return create(harness)


def many_networks(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    networks = [Network("2", "b"), Network("1", "")]
    patch.setattr(harness.backend, "list_networks", lambda refresh=False: networks)
    return create(harness)


def operation_in_progress(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    harness.backend.set_latency(Verb.STOP, 9.0)
    vm_id = harness.create_running()
    harness.post_action(vm_id, "stop")
    return harness.post_action(vm_id, "pause")


def over_quota(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    return create(harness, metadata={}, flavor="m1.xlarge")


def stale_etag(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    return harness.call(
        "POST", f"/vms/{harness.create_running()}/stop", headers={"If-Match": '"0-0"'}
    )


def taken_name(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    harness.create_running()
    return create(harness)


def reused_key(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    headers = {"Idempotency-Key": "k"}
    harness.call("POST", "/vms", json=CREATE_BODY, headers=headers)
    return harness.call("POST", "/vms", json={**CREATE_BODY, "name": "web-2"}, headers=headers)


def unanswered_request(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    patch.setattr(idempotency, "FIRST_RESPONSE_TIMEOUT", 0)
    harness.backend.set_faults("lost_answer=1")
    headers = {"Idempotency-Key": "k"}
    harness.call("POST", "/vms", json=CREATE_BODY, headers=headers)
    return harness.call("POST", "/vms", json=CREATE_BODY, headers=headers)


def all_slots_taken(harness: ApiHarness, _: Any) -> TestResponse:
    slots = harness.services.waiter.slots
    while slots.acquire(blocking=False):
        pass
    return harness.call("GET", "/events")


def without_store(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    def raise_unavailable(*_: object) -> None:
        raise errors.StoreUnavailable("vmapi's database does not answer.")

    patch.setattr(harness.services.store.operations, "add", raise_unavailable)
    return create(harness)


def refused_by_authenticator(error: errors.VmapiError) -> Ask:
    """Return a request that the authenticator refuses with an error."""

    def ask(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
        def admit(*_: object) -> None:
            raise error

        patch.setattr(harness.services.authenticator, "authenticate", admit)
        return harness.call("GET", "/vms")

    return ask


def over_rate_limit(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    limits = {"changes": parse_rate_limits("changes", "1/hour"), "address": ()}
    rates = RateLimiter(limits, MemoryCounters())
    harness.app.extensions["vmapi"] = replace(harness.services, rate_limiter=rates)
    create(harness)
    return create(harness)


def with_fault(faults: str) -> Ask:
    def ask(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
        vm_id = harness.create_running()
        harness.backend.set_faults(faults)
        return harness.post_action(vm_id, "stop")

    return ask


UNKNOWN_FIELD_MESSAGE = (
    "Unknown field. The fields are: flavor, image, key_name, metadata, name, network, "
    "security_groups, ssh_keys, start, user_data."
)
INACTIVE_IMAGE_MESSAGE = "Image cirros is queued, not active. GET /api/v1/images lists all images."
TABLE: dict[str, tuple[Ask, dict[str, Any]]] = {
    "malformed_request": (
        lambda w, _: w.call("POST", "/vms", data="{", content_type="application/json"),
        {},
    ),
    "unauthenticated": (
        refused_by_authenticator(errors.Unauthenticated("No token.")),
        {"detail": "No token."},
    ),
    "issuer_unavailable": (
        refused_by_authenticator(errors.IssuerUnavailable("Away.")),
        {"detail": "Away."},
    ),
    "forbidden": (
        refused_by_cloud(errors.Forbidden("Policy says no.")),
        {"detail": "Policy says no."},
    ),
    "quota_exceeded": (over_quota, {}),
    "vm_not_found": (lambda w, _: w.call("GET", f"/vms/{UNKNOWN_ID}"), {}),
    "operation_not_found": (
        lambda w, _: w.call("GET", "/operations/x"),
        {"detail": "There is no operation x. GET /api/v1/operations lists all operations."},
    ),
    "not_found": (
        lambda w, _: w.call("GET", "/nothing"),
        {"detail": f"No resource has the URL {BASE}/nothing. The page /docs lists all URLs."},
    ),
    "method_not_allowed": (
        lambda w, _: w.call("PUT", f"/vms/{UNKNOWN_ID}"),
        {"detail": "Method PUT is not allowed here; allowed: DELETE, GET, HEAD, OPTIONS, PATCH."},
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
        operation_in_progress,
        {
            "detail": "VM web-1 is busy stopping; wait until its task is null, or delete it.",
            "current_status": "RUNNING",
            "task": "stopping",
            "allowed_actions": ["delete"],
        },
    ),
    "vm_locked": (
        locked_vm,
        {
            "detail": "VM web-1 is locked in the cloud; unlock it there.",
            "current_status": "RUNNING",
            "task": None,
            "allowed_actions": [],
        },
    ),
    "name_taken": (taken_name, {}),
    "precondition_failed": (stale_etag, {}),
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
            "detail": f"/nmae: {UNKNOWN_FIELD_MESSAGE}",
            "errors": [{"pointer": "/nmae", "message": UNKNOWN_FIELD_MESSAGE}],
        },
    ),
    "flavor_not_found": (
        lambda w, _: create(w, flavor="m9"),
        {
            "detail": "There is no flavor m9. GET /api/v1/flavors lists all flavors.",
            "errors": [
                {
                    "pointer": "/flavor",
                    "message": "There is no flavor m9. GET /api/v1/flavors lists all flavors.",
                }
            ],
        },
    ),
    "image_not_found": (
        inactive_image,
        {
            "detail": INACTIVE_IMAGE_MESSAGE,
            "errors": [{"pointer": "/image", "message": INACTIVE_IMAGE_MESSAGE}],
        },
    ),
    "image_ambiguous": (
        ambiguous_image,
        {"detail": "Several images are called cirros; give an id instead: 1, 2."},
    ),
    "network_not_found": (
        lambda w, _: create(w, network="dmz"),
        {"detail": "There is no network dmz. GET /api/v1/networks lists all networks."},
    ),
    "network_ambiguous": (
        many_networks,
        {"detail": "There are several networks; name one of: 1, b."},
    ),
    "key_not_found": (lambda w, _: create(w, key_name="x"), {}),
    "security_group_not_found": (lambda w, _: create(w, security_groups=["x"]), {}),
    "security_group_ambiguous": (ambiguous_security_group, {}),
    "backend_error": (with_fault("action_failed=1"), {}),
    "backend_unavailable": (with_fault("unavailable=100%"), {}),
    "backend_timeout": (with_fault("lost_answer=1"), {}),
    "idempotency_key_reused": (
        reused_key,
        {"detail": "This Idempotency-Key came with another request before; use a new one."},
    ),
    "idempotency_in_progress": (
        unanswered_request,
        {"detail": "The first request with this Idempotency-Key is still in progress."},
    ),
    "rate_limited": (
        over_rate_limit,
        {"detail": "At most 1 changes of one caller are served per hour."},
    ),
    "store_unavailable": (without_store, {"detail": "vmapi's database does not answer."}),
}


def test_every_problem_is_tested_with_its_status() -> None:
    assert set(TABLE) | LATER | {"internal_error"} == set(PROBLEM_TYPES)
    assert {code: kind.status for code, kind in PROBLEM_TYPES.items()} == {
        code: status for status, codes in STATUSES.items() for code in codes
    }


@pytest.mark.parametrize("limits", ["vcpus=7"])
@pytest.mark.parametrize("code", TABLE)
def test_problem_has_status_members_and_headers(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    ask, members = TABLE[code]
    response = ask(harness, monkeypatch)
    assert response.status_code == PROBLEM_TYPES[code].status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem = response.json
    assert problem is not None
    assert ProblemSchema().validate(problem) == {}
    assert problem["type"] == f"/problems/{code}"
    assert problem["title"] == PROBLEM_TYPES[code].title
    assert problem["status"] == response.status_code
    assert problem["code"] == code
    assert problem["instance"] == response.request.path
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert {name: problem[name] for name in members} == members
    assert set(problem) - COMMON_MEMBERS <= {*PROBLEM_TYPES[code].members, *OPERATION_MEMBERS}
    assert ("Retry-After" in response.headers) == (code in COME_BACK)


def test_405_lists_allowed_methods(harness: ApiHarness) -> None:
    response = harness.call("DELETE", "/flavors")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("call", [("POST", "/vms"), ("GET", "/vms"), ("GET", f"/vms/{UNKNOWN_ID}")])
def test_503_has_retry_after_and_nothing_is_sent(
    harness: ApiHarness, call: tuple[str, str]
) -> None:
    harness.backend.set_faults("unavailable=100%")
    method, path = call
    response = harness.call(method, path, **({"json": CREATE_BODY} if method == "POST" else {}))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    harness.backend.set_faults("")
    assert len(harness.backend.list_vms()) == 0


def test_503_of_action_fails_its_operation(harness: ApiHarness, monkeypatch: Any) -> None:
    response = refused_by_cloud(errors.BackendUnavailable("away", retry_after=7))(
        harness, monkeypatch
    )
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    (operation,) = harness.get_json("/operations?action=stop")["items"]
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_unavailable")


@pytest.mark.parametrize(("verb", "path"), [("stop", "/stop"), ("delete", "")])
def test_504_names_the_operation_recovered_later(harness: ApiHarness, verb: str, path: str) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("lost_answer=1")
    response = harness.call("POST" if path else "DELETE", f"/vms/{vm_id}{path}")
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    assert response.headers["Operation-Location"] == response.json["operation"]
    operation = harness.get_operation(response)
    assert (operation["action"], operation["status"]) == (verb, "running")
    harness.reconcile_once()
    assert harness.get_operation(response)["status"] == "succeeded"


def test_504_of_create_makes_one_vm(harness: ApiHarness) -> None:
    harness.backend.set_faults("lost_answer=1")
    response = create(harness)
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    assert harness.get_operation(response)["vm_id"] is None
    harness.run_until_settled()
    operation = harness.get_operation(response)
    assert operation["status"] == "succeeded"
    vms = harness.get_json("/vms")["items"]
    assert [(vm["id"], vm["status"]) for vm in vms] == [(operation["vm_id"], "STOPPED")]


def test_refusal_by_cloud_shows_vm_state(harness: ApiHarness, monkeypatch: Any) -> None:
    response = refused_by_cloud(errors.InvalidState("Cannot 'stop'."))(harness, monkeypatch)
    assert (response.status_code, response.json["code"]) == (409, "invalid_state")
    assert response.json["current_status"] == "RUNNING"
    assert response.json["allowed_actions"] == ["stop", "restart", "pause", "delete"]


def test_500_reveals_only_the_request_id(harness: ApiHarness, monkeypatch: Any) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    hooks = dict(harness.app.after_request_funcs)
    monkeypatch.setattr(harness.app, "after_request_funcs", {None: hooks[None][:1]})
    handlers = harness.app.error_handler_spec[None][None]
    from vmapi.api.problems import responses as problems

    monkeypatch.setitem(handlers, Exception, problems.internal_error_response)
    monkeypatch.setattr(harness.backend, "list_changes_after", broken)
    response = harness.call("GET", f"/vms/{UNKNOWN_ID}", headers={"X-Request-ID": "mine"})
    assert response.status_code == 500
    assert response.json == {
        "type": "/problems/internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "detail": "vmapi failed to process the request.",
        "instance": f"{BASE}/vms/{UNKNOWN_ID}",
        "request_id": "mine",
    }


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_problem_has_an_explanation(harness: ApiHarness, code: str) -> None:
    response = harness.client.get(f"/problems/{code}")
    kind = PROBLEM_TYPES[code]
    assert response.status_code == 200
    assert response.json == {
        "code": code,
        "title": kind.title,
        "status": kind.status,
        "advice": f"{kind.meaning} {kind.advice}",
    }


def test_unknown_problem_code_is_404(harness: ApiHarness) -> None:
    response = harness.client.get("/problems/boredom")
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["code"] == "not_found"
    assert response.json["detail"].startswith(
        "No problem has the code boredom. The codes are malformed_"
    )
