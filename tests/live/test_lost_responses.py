"""Responses of a real Nova that are lost or replaced on the way to vmapi."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.support.live.api_response import ApiResponse, assert_problem
from tests.support.live.api_script import ApiScript
from tests.support.live.nova_proxy import IMPATIENT_TIMEOUT, NovaProxy, ProxyFault, ProxyReply

MAX_SEQUENTIAL_CALLS = 3
"""The calls of a create, one after another: name check, create, recovery."""
MAX_LOAD_SECONDS = 20.0
"""Seconds by which a loaded machine may delay a response. A stalled one would never end."""
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
HTML = ProxyReply(200, b"<html>Please log in</html>", (("Content-Type", "text/html"),))
BUSY = ProxyReply(503, b"<html>", (("Retry-After", "7"),))
REQUEST_ID = ("X-Openstack-Request-Id", "req-aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
FAILED = ProxyReply(
    500,
    b'{"computeFault": {"code": 500, "message": "Unexpected API Error."}}',
    (REQUEST_ID,),
)
NOVA_BUSY = ProxyReply(
    503,
    b'{"serviceUnavailable": {"code": 503, "message": "Not at present."}}',
    (("Retry-After", "7"), REQUEST_ID),
)


@contextmanager
def inject(
    script: ApiScript, proxy: NovaProxy, method: str, path: str, **options: Any
) -> Iterator[ProxyFault]:
    """Inject a fault while the circuit breaker of vmapi is closed."""
    script.wait_until_cloud_responds()
    with proxy.inject_fault(method, path, **options) as fault:
        yield fault


def replaced_by(reply: ProxyReply) -> dict[str, Any]:
    """Return the fault options that replace the reply of the cloud."""
    return {"transform": lambda _: reply}


LOST: dict[str, dict[str, Any]] = {
    "stall": {"is_stalled": True},
    "reset": {"is_lost": True},
    "half": {"transform": lambda reply: replace(reply, is_truncated=True)},
    "bad-gateway": replaced_by(ProxyReply(502, b"<html>")),
    "no-upstream": replaced_by(ProxyReply(503, b"no healthy upstream")),
    "not-found": replaced_by(ProxyReply(404, b"no Route matched")),
    "html": replaced_by(HTML),
}
READS: dict[str, tuple[dict[str, Any], int, str]] = {
    "stall": ({"is_stalled": True}, 504, "backend_timeout"),
    "reset": ({"is_lost": True}, 503, "backend_unavailable"),
    "busy": (replaced_by(BUSY), 503, "backend_unavailable"),
    "failed": (replaced_by(FAILED), 502, "backend_error"),
    "html": (replaced_by(HTML), 502, "backend_error"),
    "half": (
        replaced_by(ProxyReply(200, b'{"servers": [], "server": {}}', is_truncated=True)),
        502,
        "backend_error",
    ),
    "list": (replaced_by(ProxyReply(200, b"[]")), 502, "backend_error"),
    "empty": (replaced_by(ProxyReply(200, b"{}")), 502, "backend_error"),
    "wrong": (
        replaced_by(ProxyReply(200, b'{"servers": [1], "server": "?"}')),
        502,
        "backend_error",
    ),
}

pytestmark = pytest.mark.live


def test_read_with_a_lost_or_bad_response_fails(
    impatient_script: ApiScript, proxy: NovaProxy
) -> None:
    assert impatient_script.get("/vms?name=unknown")["items"] == []
    for case, (options, status, code) in READS.items():
        # a read with no-cache, or of an unknown VM, needs a request to the cloud
        for path, refresh in (("/vms", True), (f"/vms/{UNKNOWN_ID}", False)):
            with inject(
                impatient_script, proxy, "GET", "/servers", is_forwarded=False, **options
            ) as fault:
                response = impatient_script.call("GET", path, refresh=refresh)
                match_count = fault.match_count
                cached = impatient_script.call("GET", "/vms?name=unknown")
            assert_problem(response, status, code)
            assert response.seconds < IMPATIENT_TIMEOUT + MAX_LOAD_SECONDS, case
            retry = {"busy": "7"}.get(case, "5") if status == 503 else None
            assert response.headers.get("Retry-After") == retry
            assert 1 <= match_count <= 3
            assert (cached.status, cached.body["items"]) == (200, [])
            assert "Age" in cached.headers
            impatient_script.wait_until_cloud_responds()
            impatient_script.assert_refused(404, "vm_not_found", "GET", f"/vms/{UNKNOWN_ID}")


def test_create_with_a_lost_response_is_found_again(
    impatient_script: ApiScript, proxy: NovaProxy, owner: Any
) -> None:
    responses = {}
    for case, options in LOST.items():
        with inject(impatient_script, proxy, "POST", "/servers$", **options) as fault:
            responses[case] = impatient_script.request_vm(case, start=True)
        assert_outcome_unknown(responses[case])
        assert fault.match_count == 1
    with inject(impatient_script, proxy, "POST", "/servers$", **replaced_by(FAILED)) as fault:
        responses["failed"] = impatient_script.request_vm("failed", start=True)
    if responses["failed"].seconds < IMPATIENT_TIMEOUT:
        assert responses["failed"].status == 202
    # a slow Nova may exceed the short timeout of this vmapi
    assert responses["failed"].status in (202, 504)
    assert fault.match_count == 1
    for case, response in responses.items():
        operation = impatient_script.wait_until_finished(response)
        assert (operation["status"], operation["error"]) == ("succeeded", None)
        (vm,) = impatient_script.get(f"/vms?name={impatient_script.vm_name(case)}")["items"]
        assert (vm["id"], vm["status"]) == (operation["vm_id"], "RUNNING")
    listed = owner.compute.get(f"/servers?name=^{impatient_script.label}").json()["servers"]
    assert len(listed) == len(responses)


def test_create_that_never_reached_nova_fails(
    impatient_script: ApiScript, proxy: NovaProxy
) -> None:
    for case, (reply, status, code) in {
        "busy": (NOVA_BUSY, 503, "backend_unavailable"),
        "failed": (FAILED, 502, "backend_error"),
    }.items():
        with inject(
            impatient_script, proxy, "POST", "/servers$", is_forwarded=False, **replaced_by(reply)
        ) as fault:
            response = impatient_script.request_vm(case)
        assert_problem(response, status, code)
        assert fault.match_count == 1
        assert response.headers.get("Retry-After") == ("7" if case == "busy" else None)
        (operation,) = impatient_script.get("/operations?action=create&page_size=1")["items"]
        assert (operation["status"], operation["vm_id"]) == ("failed", None)
        assert operation["error"]["code"] == code
    assert impatient_script.get(f"/vms?name={impatient_script.label}-*")["total"] == 0


def assert_failed_stops(script: ApiScript, proxy: NovaProxy, vm_id: str) -> None:
    """Check that a stop that Nova does not run fails, with Nova's error."""
    for reply, status, code in (
        (NOVA_BUSY, 503, "backend_unavailable"),
        (FAILED, 502, "backend_error"),
    ):
        # not a pause: Nova's times are too coarse to distinguish it from the earlier pause
        with inject(
            script, proxy, "POST", "/action$", is_forwarded=False, **replaced_by(reply)
        ) as fault:
            script.assert_refused(status, code, "POST", f"/vms/{vm_id}/stop")
        (operation,) = script.get(f"/operations?vm_id={vm_id}&page_size=1")["items"]
        assert (operation["status"], operation["error"]["code"]) == ("failed", code)
        vm = script.get_vm(vm_id)
        assert (fault.match_count, vm["status"], vm["task"]) == (1, "RUNNING", None)


def test_action_with_a_lost_response_is_found_again(
    impatient_script: ApiScript, proxy: NovaProxy
) -> None:
    vm_id = impatient_script.create_running_vm()
    for action, options, responds_at_once, goal in (
        ("stop", LOST["stall"], False, "STOPPED"),
        ("start", LOST["reset"], False, "RUNNING"),
        ("pause", replaced_by(FAILED), True, "PAUSED"),
        ("resume", LOST["html"], False, "RUNNING"),
        ("restart", LOST["bad-gateway"], False, "RUNNING"),
    ):
        with inject(impatient_script, proxy, "POST", "/action$", **options) as fault:
            response = impatient_script.request_action(vm_id, action)
        if responds_at_once:
            assert response.status in (200, 202)
        else:
            assert_outcome_unknown(response)
        operation = impatient_script.wait_until_finished(response)
        assert (operation["status"], operation["error"]) == ("succeeded", None), action
        assert impatient_script.wait_until_settled(vm_id)["status"] == goal
        assert fault.match_count == 1
    assert_failed_stops(impatient_script, proxy, vm_id)
    assert_lost_changes(impatient_script, proxy, vm_id)


def assert_lost_changes(impatient_script: ApiScript, proxy: NovaProxy, vm_id: str) -> None:
    """Patch, stop and delete a VM with lost responses; idempotent changes are repeated."""
    path = f"/vms/{vm_id}"
    with inject(impatient_script, proxy, "POST", "/metadata$", **LOST["stall"]):
        patched = impatient_script.call("PATCH", path, {"metadata": {"env": "test"}})
    assert_outcome_unknown(patched)
    assert impatient_script.wait_until_finished(patched)["status"] == "succeeded"
    assert impatient_script.wait_until_settled(vm_id)["metadata"] == {"env": "test"}
    # vmapi cannot know that this request never arrives
    with inject(
        impatient_script, proxy, "POST", "/action$", is_forwarded=False, **LOST["reset"]
    ) as fault:
        unsent_stop = impatient_script.request_action(vm_id, "stop")
    assert_outcome_unknown(unsent_stop)
    operation = impatient_script.get(unsent_stop.headers["Operation-Location"])
    vm = impatient_script.get_vm(vm_id)
    assert (operation["status"], fault.match_count) == ("running", 1)
    assert (vm["status"], vm["task"], vm["allowed_actions"]) == ("RUNNING", "stopping", ["delete"])
    impatient_script.assert_refused(409, "task_in_progress", "POST", f"{path}/pause")
    with inject(impatient_script, proxy, "DELETE", "/servers/", **LOST["reset"]):
        deleted = impatient_script.call("DELETE", path)
    assert_outcome_unknown(deleted)
    assert impatient_script.wait_until_finished(deleted)["status"] == "succeeded"
    assert impatient_script.wait_until_finished(unsent_stop)["status"] == "superseded"
    impatient_script.assert_refused(404, "vm_not_found", "GET", path)


def assert_outcome_unknown(response: ApiResponse) -> None:
    """Assert that the response is a timeout with the location of the operation."""
    assert assert_problem(response, 504, "backend_timeout")["operation"].startswith(
        "/api/v1/operations/"
    )
    assert response.headers["Operation-Location"] == response.body["operation"]
    assert response.seconds < MAX_SEQUENTIAL_CALLS * IMPATIENT_TIMEOUT + MAX_LOAD_SECONDS


def test_delete_behind_a_proxy_of_404_has_not_succeeded(
    impatient_script: ApiScript, proxy: NovaProxy
) -> None:
    vm_id = impatient_script.create_running_vm()
    lost = {"is_forwarded": False, **LOST["not-found"]}
    with (
        inject(impatient_script, proxy, "DELETE", "/", **lost),
        inject(impatient_script, proxy, "GET", "/servers", **lost),
    ):
        deleted = impatient_script.call("DELETE", f"/vms/{vm_id}")
        assert_outcome_unknown(deleted)
        response = impatient_script.call("GET", f"/vms/{vm_id}", refresh=True)
        assert_problem(response, 502, "backend_error")
        operation = impatient_script.get(deleted.headers["Operation-Location"])
        assert operation["status"] == "running"
    assert impatient_script.wait_until_finished(deleted)["status"] == "succeeded"
    impatient_script.assert_refused(404, "vm_not_found", "GET", f"/vms/{vm_id}")
