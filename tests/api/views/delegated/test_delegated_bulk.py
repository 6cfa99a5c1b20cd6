"""Bulk actions by callers with Keystone tokens."""

from typing import Any

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.blocking_source import wait_until
from tests.support.delegated_calls import (
    ALICE,
    BOB,
    DelegatingCloud,
    create_running_vm,
    send_change,
)
from vmapi import errors
from vmapi.services.operations import delegated as first_calls


def post_bulk(auth_harness: AuthHarness, ids: list[str]) -> list[Any]:
    response = send_change(auth_harness, "POST", "/vms/actions", {"action": "stop", "ids": ids})
    assert response.status_code == 202
    return list(response.json["items"])


def finished_operations(auth_harness: AuthHarness, items: list[Any]) -> list[Any]:
    """Return the operations of a bulk request when all are finished."""
    ids = [item["operation"]["id"] for item in items]

    def operations() -> list[Any]:
        return [
            send_change(auth_harness, "GET", f"/operations/{operation_id}").json
            for operation_id in ids
        ]

    wait_until(lambda: all(operation["finished_at"] for operation in operations()))
    return operations()


def test_bulk_uses_caller_token(auth_harness: AuthHarness, backend: DelegatingCloud) -> None:
    ids = [create_running_vm(auth_harness, backend, f"web-{n}") for n in range(12)]
    foreign = create_running_vm(auth_harness, backend, "theirs", BOB)
    items = post_bulk(auth_harness, [*ids, foreign])
    assert items.pop()["error"]["code"] == "vm_not_found"
    assert {operation["status"] for operation in finished_operations(auth_harness, items)} == {
        "succeeded"
    }
    assert backend.caller_tokens == [ALICE] * 12


@pytest.mark.parametrize("latency", ["stop=5"])
def test_engine_continues_started_operations(
    auth_harness: AuthHarness, harness: ApiHarness, backend: DelegatingCloud
) -> None:
    items = post_bulk(auth_harness, [create_running_vm(auth_harness, backend)])
    wait_until(lambda: bool(backend.caller_tokens))
    wait_until(lambda: harness.services.operations.list_leased()[0].is_awaiting_outcome)
    harness.run_until_settled()
    assert finished_operations(auth_harness, items)[0]["status"] == "succeeded"
    assert backend.caller_tokens == [ALICE]


def test_engine_does_not_start_delegated_operations(
    auth_harness: AuthHarness,
    harness: ApiHarness,
    backend: DelegatingCloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_calls.ThreadPoolExecutor, "submit", lambda *_: None)
    vm_id = create_running_vm(auth_harness, backend)
    (item,) = post_bulk(auth_harness, [vm_id])
    # an operation that waits for its start is leased: no engine runs it
    harness.reconcile_once()
    assert (
        send_change(auth_harness, "GET", f"/operations/{item['operation']['id']}").json["status"]
        == "pending"
    )
    assert backend.caller_tokens == []
    # the process of the operations has died
    harness.services.store.operations.release(item["operation"]["id"])
    harness.reconcile_once()
    (operation,) = finished_operations(auth_harness, [item])
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_unavailable")
    assert operation["error"]["detail"] == "vmapi died before this was sent; send it again."
    assert backend.caller_tokens == []
    assert send_change(auth_harness, "GET", f"/vms/{vm_id}").json["task"] is None


def test_operation_during_shutdown_is_left_unstarted(
    auth_harness: AuthHarness, harness: ApiHarness, backend: DelegatingCloud
) -> None:
    ids = [create_running_vm(auth_harness, backend, f"web-{n}") for n in range(2)]
    harness.services.operations.stop()
    items = post_bulk(auth_harness, ids)
    for item in items:
        harness.services.store.operations.release(item["operation"]["id"])
    harness.reconcile_once()
    details = {
        operation["error"]["detail"] for operation in finished_operations(auth_harness, items)
    }
    assert details == {"vmapi died before this was sent; send it again."}
    assert backend.caller_tokens == []


def test_later_refusal_is_the_error_of_the_operation(
    auth_harness: AuthHarness, backend: DelegatingCloud
) -> None:
    items = [create_running_vm(auth_harness, backend)]
    backend.refusal = errors.Unauthenticated("not taken", credentials_sent=True)
    (operation,) = finished_operations(auth_harness, post_bulk(auth_harness, items))
    assert (operation["status"], operation["error"]["code"]) == ("failed", "unauthenticated")
