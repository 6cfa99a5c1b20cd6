"""Which outcomes stay bound to their Idempotency-Key, and which free it: the table of the API."""

from typing import Any, NoReturn

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, ApiHarness
from vmapi import errors

KEY = {"Idempotency-Key": "k"}


def create(harness: ApiHarness) -> TestResponse:
    return harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)


def fail_with(error: errors.VmapiError) -> Any:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def check_bound(first: TestResponse, again: TestResponse) -> None:
    assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (
        first.status_code,
        "true",
    )
    if first.status_code >= 400:
        assert (again.json["code"], again.json["detail"]) == (
            first.json["code"],
            first.json["detail"],
        )


def check_free(harness: ApiHarness, again: TestResponse) -> None:
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (201, False)
    assert harness.get_json("/vms")["total"] == 1


@pytest.mark.parametrize("fault", ["", "no_capacity=1", "build_failed=1"])
def test_created_vm_is_bound_whether_it_runs_or_not(harness: ApiHarness, fault: str) -> None:
    harness.backend.set_faults(fault)
    first = create(harness)
    assert (first.status_code, first.json["status"]) == (201, "ERROR" if fault else "STOPPED")
    check_bound(first, create(harness))
    harness.clock.sleep(3600)
    check_bound(first, create(harness))


@pytest.mark.parametrize("action", ["stop", "pause", "restart"])
def test_action_that_the_cloud_accepted_and_failed_is_bound(
    harness: ApiHarness, action: str
) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("action_failed=1")
    path = f"/vms/{vm_id}/{action}"
    first = harness.call("POST", path, headers=KEY)
    assert (first.status_code, first.json["code"]) == (502, "backend_error")
    assert "Idempotent-Replayed" not in first.headers
    for _ in range(3):
        check_bound(first, harness.call("POST", path, headers=KEY))
    assert harness.get_json(f"/operations?action={action}")["total"] == 1


def test_error_of_the_cloud_at_the_change_is_bound(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "create_vm", fail_with(errors.BackendError("broken")))
        first = create(harness)
        assert (first.status_code, first.json["code"]) == (502, "backend_error")
        assert "Idempotent-Replayed" not in first.headers
        for _ in range(3):
            check_bound(first, create(harness))
    check_bound(first, create(harness))
    assert harness.get_json("/operations")["total"] == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BackendUnavailable("away"), 503),
        (errors.QuotaExceeded("full"), 403),
        (errors.Forbidden("not you"), 403),
        (errors.KeyNotFound("no key"), 422),
        (errors.SecurityGroupNotFound("no group"), 422),
        (errors.NameTaken("taken"), 409),
    ],
)
def test_refusal_of_the_cloud_frees_the_key(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, error: errors.VmapiError, status: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "create_vm", fail_with(error))
        for _ in range(2):
            refused = create(harness)
            assert (refused.status_code, refused.json["code"]) == (status, error.code)
            assert "Idempotent-Replayed" not in refused.headers
    check_free(harness, create(harness))


@pytest.mark.parametrize(
    ("error", "status"),
    [(errors.BackendError("broken"), 502), (errors.BackendUnavailable("away"), 503)],
)
@pytest.mark.parametrize("read", ["list_flavors", "list_images", "list_networks"])
def test_failure_of_a_read_before_the_change_frees_the_key(
    harness: ApiHarness,
    monkeypatch: pytest.MonkeyPatch,
    read: str,
    error: errors.VmapiError,
    status: int,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, read, fail_with(error))
        failed = create(harness)
        assert (failed.status_code, "Idempotent-Replayed" in failed.headers) == (status, False)
        assert harness.get_json("/operations")["total"] == 0
    check_free(harness, create(harness))


def test_unknown_outcome_is_bound_when_it_is_known(harness: ApiHarness) -> None:
    harness.backend.set_faults("lost_answer=1")
    assert create(harness).status_code == 504
    harness.run_until_settled()
    again = create(harness)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    check_bound(again, create(harness))


def test_unknown_outcome_of_a_change_that_never_arrived_frees_the_key(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "create_vm", fail_with(errors.BackendTimeout("silent")))
        assert create(harness).status_code == 504
    harness.run_until_settled()
    assert harness.get_json("/operations")["items"][0]["status"] == "failed"
    check_free(harness, create(harness))
