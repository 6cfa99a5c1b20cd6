"""Background starts of delegated operations."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.factories import OPERATION_1, VM_1
from vmapi import errors
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.operation import NewOperation
from vmapi.services.operations import delegated
from vmapi.services.operations.delegated import DELEGATED_START_THREADS, DelegatedStarter

ALICE = CallerToken("gAAAAABalice", "p1")


def new_operation(id: str) -> NewOperation:
    operation = replace(OPERATION_1, id=id, requested_by="alice", request_id=f"req-{id}")
    return NewOperation(operation, VM_1, caller_token=ALICE)


def test_operation_starts_once_with_its_token_and_log_context() -> None:
    started: list[Any] = []

    def start(new: NewOperation) -> None:
        bound = structlog.contextvars.get_contextvars()
        started.append((new.operation.id, new.caller_token, bound["request_id"], bound["user"]))

    starter = DelegatedStarter(start)
    for number in range(9):
        starter.submit(new_operation(str(number)))
    wait_until(lambda: len(started) == 9)
    starter.stop()
    assert sorted(started) == [(str(n), ALICE, f"req-{n}", "alice") for n in range(9)]


def test_concurrent_starts_are_limited_and_stop_drops_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started_ids: list[str] = []
    released, dropped = threading.Event(), threading.Event()

    class ObservedPool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            dropped.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(delegated, "ThreadPoolExecutor", ObservedPool)

    def start(new: NewOperation) -> None:
        started_ids.append(new.operation.id)
        assert released.wait(GUARD_TIMEOUT)

    starter = DelegatedStarter(start)
    for number in range(DELEGATED_START_THREADS + 3):
        starter.submit(new_operation(str(number)))
    wait_until(lambda: len(started_ids) == DELEGATED_START_THREADS)
    stopping = threading.Thread(target=starter.stop)
    stopping.start()
    assert dropped.wait(GUARD_TIMEOUT)
    released.set()
    stopping.join(GUARD_TIMEOUT)
    assert not stopping.is_alive()
    starter.submit(new_operation("late"))  # from a request of the draining process
    assert len(started_ids) == DELEGATED_START_THREADS


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        (errors.Forbidden("no"), "delegated start failed", "info"),
        (RuntimeError("a defect"), "delegated start failed", "error"),
    ],
)
def test_failed_start_is_logged_and_stops_no_other(
    error: Exception, event: str, level: str
) -> None:
    called_ids: list[str] = []

    def start(new: NewOperation) -> None:
        called_ids.append(new.operation.id)
        if new.operation.id == "1":
            raise error

    with capture_logs() as logs:
        starter = DelegatedStarter(start)
        for id in ("1", "2"):
            starter.submit(new_operation(id))
        wait_until(lambda: len(called_ids) == 2)
        starter.stop()
    (line,) = logs
    assert (line["event"], line["log_level"], line["operation_id"]) == (event, level, "1")
    assert "gAAAAAB" not in str(line)
