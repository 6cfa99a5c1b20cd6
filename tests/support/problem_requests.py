"""A request for each problem, and the members of its response."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from vmapi import errors
from vmapi.backends.memory.instance import Instance
from vmapi.domain.catalog import Image, Network
from vmapi.domain.lifecycle import Verb
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.services.operations import idempotency
from vmapi.settings.limits import parse_rate_limits
from vmapi.store.rate_counters import MemoryCounters

ProblemRequest = Callable[[ApiHarness, pytest.MonkeyPatch], TestResponse]


def create(harness: ApiHarness, **fields: Any) -> TestResponse:
    return harness.post("/vms", {**CREATE_BODY, **fields})


def refused_by_cloud(error: errors.VmapiError) -> ProblemRequest:
    """Return a request that the cloud refuses with an error."""

    def send(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
        def perform(*_: object, **__: object) -> None:
            raise error

        vm_id = harness.create_running()
        patch.setattr(harness.backend, "perform_action", perform)
        return harness.post_action(vm_id, "stop")

    return send


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


def without_store(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
    def raise_unavailable(*_: object) -> None:
        raise errors.StoreUnavailable("vmapi's database does not answer.")

    patch.setattr(harness.services.store.operations, "add", raise_unavailable)
    return create(harness)


def refused_by_authenticator(error: errors.VmapiError) -> ProblemRequest:
    """Return a request that the authenticator refuses with an error."""

    def send(harness: ApiHarness, patch: pytest.MonkeyPatch) -> TestResponse:
        def admit(*_: object) -> None:
            raise error

        patch.setattr(harness.services.authenticator, "authenticate", admit)
        return harness.call("GET", "/vms")

    return send


def over_rate_limit(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
    limits = {"changes": parse_rate_limits("changes", "1/hour"), "address": ()}
    rates = RateLimiter(limits, MemoryCounters())
    harness.app.extensions["vmapi"] = replace(harness.services, rate_limiter=rates)
    create(harness)
    return create(harness)


def with_fault(faults: str) -> ProblemRequest:
    def send(harness: ApiHarness, _: pytest.MonkeyPatch) -> TestResponse:
        vm_id = harness.create_running()
        harness.backend.set_faults(faults)
        return harness.post_action(vm_id, "stop")

    return send


UNKNOWN_FIELD_MESSAGE = (
    "Unknown field. The fields are: flavor, image, key_name, metadata, name, network, "
    "security_groups, ssh_keys, start, user_data."
)
INACTIVE_IMAGE_MESSAGE = "Image cirros is queued, not active. GET /api/v1/images lists all images."
PROBLEM_REQUESTS: dict[str, tuple[ProblemRequest, dict[str, Any]]] = {
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
    # the proxy in front of vmapi answers so: tests/e2e/test_gateways.py
    "under_maintenance": (
        refused_by_authenticator(errors.UnderMaintenance("Closed.")),
        {"detail": "Closed."},
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
        {"detail": "This idempotency key came with another request before; use a new one."},
    ),
    "idempotency_in_progress": (
        unanswered_request,
        {"detail": "The first request with this idempotency key is still in progress."},
    ),
    "rate_limited": (
        over_rate_limit,
        {"detail": "At most 1 changes of one caller are served per hour."},
    ),
    "store_unavailable": (without_store, {"detail": "vmapi's database does not answer."}),
}
