"""First calls that are made beside the requests, a few at a time."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from vmapi import errors
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, Step
from vmapi.services.operations.delegated import DELEGATED_START_THREADS, DelegatedStarter

ALICE = CallerToken("gAAAAABalice", "p1")


def operation(id: str) -> Operation:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Operation(id, Action.STOP, (Step(Verb.STOP),), now, "alice", f"req-{id}")


def test_each_is_begun_once_with_its_credential_and_under_its_request() -> None:
    seen: list[Any] = []

    def start(asked: Operation, on_behalf: CallerToken) -> None:
        bound = structlog.contextvars.get_contextvars()
        seen.append((asked.id, on_behalf, bound["request_id"], bound["user"]))

    calls = DelegatedStarter(start)
    for number in range(9):
        calls.submit(operation(str(number)), ALICE)
    wait_until(lambda: len(seen) == 9)
    calls.stop()
    assert sorted(seen) == [(str(n), ALICE, f"req-{n}", "alice") for n in range(9)]


def test_a_few_at_a_time_and_none_once_stopped() -> None:
    begun: list[str] = []
    go = threading.Event()

    def start(asked: Operation, _: CallerToken) -> None:
        begun.append(asked.id)
        assert go.wait(GUARD_TIMEOUT)

    calls = DelegatedStarter(start)
    for number in range(DELEGATED_START_THREADS + 3):
        calls.submit(operation(str(number)), ALICE)
    wait_until(lambda: len(begun) == DELEGATED_START_THREADS)
    stopping = threading.Thread(target=calls.stop)
    stopping.start()
    wait_until(lambda: calls._pool._shutdown)
    go.set()
    stopping.join(GUARD_TIMEOUT)
    assert not stopping.is_alive()
    # it comes while the process drains
    calls.submit(operation("late"), ALICE)
    assert len(begun) == DELEGATED_START_THREADS


@pytest.mark.parametrize(
    ("error", "said", "level"),
    [
        (errors.Forbidden("no"), "a first call failed", "info"),
        (RuntimeError("a defect"), "a first call could not be made", "error"),
    ],
)
def test_what_goes_wrong_is_logged_and_ends_nothing(
    error: Exception, said: str, level: str
) -> None:
    done: list[str] = []

    def start(asked: Operation, _: CallerToken) -> None:
        done.append(asked.id)
        if asked.id == "1":
            raise error

    with capture_logs() as logs:
        calls = DelegatedStarter(start)
        for id in ("1", "2"):
            calls.submit(operation(id), ALICE)
        wait_until(lambda: len(done) == 2)
        calls.stop()
    (line,) = logs
    assert (line["event"], line["log_level"], line["operation_id"]) == (said, level, "1")
    assert "gAAAAAB" not in str(line)
