"""The breaker: what counts as a cloud that is away, and what ends it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import SOON, until
from vmapi.backends import circuit_breaker as breakers
from vmapi.backends.circuit_breaker import FAILURE_THRESHOLD, SLOW_CALL_THRESHOLD, CircuitBreaker
from vmapi.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Forbidden,
    InvalidState,
    QuotaExceeded,
    VmapiError,
    VMNotFound,
)

AWAY = BackendUnavailable("The cloud is gone.")
LOST = BackendTimeout("The cloud did not answer in time.")


@dataclass
class Bench:
    """A breaker whose pings and time a test decides, and that pings only when it is told to."""

    ping: VmapiError | None = None
    now: float = 100.0
    pings: int = 0
    breaker: CircuitBreaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = CircuitBreaker(self.pinged, lambda: self.now)
        self.breaker.stop_probing()

    def pinged(self) -> None:
        self.pings += 1
        if self.ping is not None:
            raise self.ping

    def call(self, *outcomes: Exception | None) -> None:
        """Make calls that end so."""
        for outcome in outcomes:
            try:
                with self.breaker.calling():
                    if outcome is not None:
                        raise outcome
            except Exception as error:
                if error is not outcome:
                    raise


@pytest.mark.parametrize("error", [AWAY, LOST], ids=lambda error: str(error.code))
def test_it_opens_after_some_failures_in_a_row(error: VmapiError) -> None:
    bench = Bench()
    bench.call(*[error] * (FAILURE_THRESHOLD - 1), None, *[error] * (FAILURE_THRESHOLD - 1))
    assert not bench.breaker.is_open
    bench.call(error)
    assert bench.breaker.is_open
    said = f"{error.detail} Nothing was sent: vmapi waits for the cloud to answer again."
    with pytest.raises(BackendUnavailable) as refused, bench.breaker.call():
        pytest.fail("sent")
    assert (refused.value.detail, refused.value.retry_after) == (said, 2)


@pytest.mark.parametrize(
    "answer",
    [
        VMNotFound("x"),
        InvalidState("x"),
        QuotaExceeded("x"),
        Forbidden("x"),
        BackendError("one VM's"),
    ],
    ids=lambda error: str(error.code),
)
def test_a_refusal_is_an_answer(answer: VmapiError) -> None:
    bench = Bench()
    bench.call(*[answer] * FAILURE_THRESHOLD)
    assert not bench.breaker.is_suspect
    bench.call(*[AWAY] * (FAILURE_THRESHOLD - 1), answer, AWAY)
    assert not bench.breaker.is_open


def test_a_defect_of_ours_tells_nothing() -> None:
    bench = Bench()
    bench.call(*[AWAY] * (FAILURE_THRESHOLD - 1), TypeError("x"), AWAY)
    assert bench.breaker.is_open


def test_one_call_that_is_lost_while_others_are_answered_is_not_the_cloud() -> None:
    bench = Bench()

    def lost() -> None:
        with bench.breaker.calling():
            bench.call(None)
            raise LOST

    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(BackendTimeout):
            lost()
    assert not bench.breaker.is_suspect


def test_it_may_be_away_after_one_failure_until_it_answers() -> None:
    bench = Bench()
    bench.call(AWAY)
    assert (bench.breaker.is_suspect, bench.breaker.is_open) == (True, False)
    bench.call(None)
    assert not bench.breaker.is_suspect


def test_it_may_be_away_while_a_call_hangs() -> None:
    bench = Bench()
    with bench.breaker.calling():
        bench.now += SLOW_CALL_THRESHOLD
        assert not bench.breaker.is_suspect
        bench.now += 0.1
        assert bench.breaker.is_suspect
    assert not bench.breaker.away


def test_a_ping_that_is_answered_closes_it_and_no_other_is_sent() -> None:
    bench = Bench(ping=LOST)
    with capture_logs() as logs:
        bench.call(*[AWAY] * FAILURE_THRESHOLD)
        bench.breaker.probe()
        assert bench.breaker.is_open
        bench.now += 12
        bench.ping = None
        bench.breaker.probe()
    assert not bench.breaker.is_open
    bench.call(None)
    assert bench.pings == 2
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "the cloud is away: nothing is sent until it answers"),
        ("info", "the cloud answers again"),
    ]
    assert (logs[0]["reason"], logs[1]["seconds"]) == (AWAY.detail, 12)


def test_pings_count_too_so_one_failure_is_enough() -> None:
    bench = Bench(ping=AWAY)
    bench.call(AWAY)
    for _ in range(FAILURE_THRESHOLD - 1):
        bench.breaker.probe()
    assert bench.breaker.is_open


def test_a_cloud_that_refuses_the_account_is_there() -> None:
    bench = Bench(ping=Forbidden("wrong password"))
    bench.call(*[AWAY] * FAILURE_THRESHOLD)
    bench.breaker.probe()
    assert not bench.breaker.is_open


def test_what_was_sent_before_it_came_back_does_not_open_it_again() -> None:
    bench, go = Bench(), threading.Event()

    def late() -> None:
        with bench.breaker.calling():
            assert go.wait(SOON)
            raise LOST

    with ThreadPoolExecutor(FAILURE_THRESHOLD) as pool:
        calls = [pool.submit(late) for _ in range(FAILURE_THRESHOLD)]
        until(lambda: len(bench.breaker._in_flight) == FAILURE_THRESHOLD)
        bench.breaker.probe()
        go.set()
        for call in calls:
            assert isinstance(call.exception(SOON), BackendTimeout)
    assert not bench.breaker.is_suspect


def test_it_pings_by_itself_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "PROBE_INTERVAL", 0.001)
    bench = Bench(ping=AWAY)
    bench.breaker = CircuitBreaker(bench.pinged)
    bench.call(AWAY)
    until(lambda: bench.breaker.is_open and bench.pings > FAILURE_THRESHOLD)
    bench.ping = None
    until(lambda: not bench.breaker.is_open)
    until(lambda: "breaker-probe" not in {thread.name for thread in threading.enumerate()})
    bench.call(AWAY)
    until(lambda: not bench.breaker.is_suspect)


def test_it_pings_no_more_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "PROBE_INTERVAL", 0.001)
    bench = Bench(ping=AWAY)
    bench.breaker = CircuitBreaker(bench.pinged)
    bench.call(AWAY)
    until(lambda: bench.pings > 0)
    bench.breaker.stop_probing()
    until(lambda: "breaker-probe" not in {thread.name for thread in threading.enumerate()})


def test_it_closes_though_no_thread_was_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "PROBE_INTERVAL", 0.001)
    bench = Bench()
    bench.breaker = CircuitBreaker(bench.pinged)

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(breakers.threading.Thread, "start", none)
        bench.call(*[AWAY] * FAILURE_THRESHOLD)
        with pytest.raises(BackendUnavailable):
            bench.breaker.raise_if_open()
    assert bench.breaker.is_open
    with pytest.raises(BackendUnavailable):
        bench.breaker.raise_if_open()
    until(lambda: not bench.breaker.is_open)
