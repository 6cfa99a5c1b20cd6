"""First calls that are made beside the requests, a few at a time."""

import threading
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.factories import OPERATION_1, VM_1
from vmapi import errors
from vmapi.domain.identity import CallerToken
from vmapi.domain.operation import NewOperation
from vmapi.services.operations.delegated import DELEGATED_START_THREADS, DelegatedStarter

ALICE = CallerToken("gAAAAABalice", "p1")


def new_operation(id: str) -> NewOperation:
    operation = replace(OPERATION_1, id=id, requested_by="alice", request_id=f"req-{id}")
    return NewOperation(operation, VM_1, caller_token=ALICE)


def test_each_is_begun_once_with_its_credential_and_under_its_request() -> None:
    seen: list[Any] = []

    def start(new: NewOperation) -> None:
        bound = structlog.contextvars.get_contextvars()
        seen.append((new.operation.id, new.caller_token, bound["request_id"], bound["user"]))

    calls = DelegatedStarter(start)
    for number in range(9):
        calls.submit(new_operation(str(number)))
    wait_until(lambda: len(seen) == 9)
    calls.stop()
    assert sorted(seen) == [(str(n), ALICE, f"req-{n}", "alice") for n in range(9)]


def test_a_few_at_a_time_and_none_once_stopped() -> None:
    begun: list[str] = []
    go = threading.Event()

    def start(new: NewOperation) -> None:
        begun.append(new.operation.id)
        assert go.wait(GUARD_TIMEOUT)

    calls = DelegatedStarter(start)
    for number in range(DELEGATED_START_THREADS + 3):
        calls.submit(new_operation(str(number)))
    wait_until(lambda: len(begun) == DELEGATED_START_THREADS)
    stopping = threading.Thread(target=calls.stop)
    stopping.start()
    wait_until(lambda: calls._pool._shutdown)
    go.set()
    stopping.join(GUARD_TIMEOUT)
    assert not stopping.is_alive()
    # it comes while the process drains
    calls.submit(new_operation("late"))
    assert len(begun) == DELEGATED_START_THREADS


@pytest.mark.parametrize(
    ("error", "said", "level"),
    [
        (errors.Forbidden("no"), "delegated start failed", "info"),
        (RuntimeError("a defect"), "delegated start failed", "error"),
    ],
)
def test_what_goes_wrong_is_logged_and_ends_nothing(
    error: Exception, said: str, level: str
) -> None:
    done: list[str] = []

    def start(new: NewOperation) -> None:
        done.append(new.operation.id)
        if new.operation.id == "1":
            raise error

    with capture_logs() as logs:
        calls = DelegatedStarter(start)
        for id in ("1", "2"):
            calls.submit(new_operation(id))
        wait_until(lambda: len(done) == 2)
        calls.stop()
    (line,) = logs
    assert (line["event"], line["log_level"], line["operation_id"]) == (said, level, "1")
    assert "gAAAAAB" not in str(line)
