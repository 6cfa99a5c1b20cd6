"""The circuit breaker: which errors open it, and what closes it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.metrics import RecordedMetrics
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

UNAVAILABLE = BackendUnavailable("The cloud cannot be reached.")
TIMEOUT = BackendTimeout("The cloud did not respond in time.")
PROBE_INTERVAL = 0.001


@dataclass
class BreakerHarness:
    """A breaker with a clock and a ping outcome that a test controls, without a probe thread."""

    ping_error: VmapiError | None = None
    now: float = 100.0
    pings: int = 0
    breaker: CircuitBreaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = CircuitBreaker(self.ping, lambda: self.now)
        self.breaker.stop_probing()

    def start_probe_thread(self) -> None:
        """Replace the breaker by one with a real clock and a fast probe thread."""
        self.breaker = CircuitBreaker(self.ping, probe_interval=PROBE_INTERVAL)

    def ping(self) -> None:
        self.pings += 1
        if self.ping_error is not None:
            raise self.ping_error

    def call(self, *outcomes: Exception | None) -> None:
        """Make one call for each outcome: an error, or None for a success."""
        for outcome in outcomes:
            try:
                with self.breaker.calling():
                    if outcome is not None:
                        raise outcome
            except Exception as error:
                if error is not outcome:
                    raise


def probe_thread_runs() -> bool:
    return "breaker-probe" in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("error", [UNAVAILABLE, TIMEOUT], ids=lambda error: str(error.code))
def test_breaker_opens_after_consecutive_failures(error: VmapiError) -> None:
    harness = BreakerHarness()
    harness.call(*[error] * (FAILURE_THRESHOLD - 1), None, *[error] * (FAILURE_THRESHOLD - 1))
    assert not harness.breaker.is_open
    harness.call(error)
    assert harness.breaker.is_open
    detail = f"{error.detail} Nothing was sent: vmapi waits until the cloud responds again."
    with pytest.raises(BackendUnavailable) as caught, harness.breaker.calling():
        pytest.fail("the call was made")
    assert (caught.value.detail, caught.value.retry_after) == (detail, 2)


@pytest.mark.parametrize(
    "error",
    [
        VMNotFound("x"),
        InvalidState("x"),
        QuotaExceeded("x"),
        Forbidden("x"),
        BackendError("about one VM"),
    ],
    ids=lambda error: str(error.code),
)
def test_error_response_counts_as_response(error: VmapiError) -> None:
    harness = BreakerHarness()
    harness.call(*[error] * FAILURE_THRESHOLD)
    assert not harness.breaker.is_suspect
    harness.call(*[UNAVAILABLE] * (FAILURE_THRESHOLD - 1), error, UNAVAILABLE)
    assert not harness.breaker.is_open


def test_programming_error_is_neither_response_nor_failure() -> None:
    harness = BreakerHarness()
    harness.call(*[UNAVAILABLE] * (FAILURE_THRESHOLD - 1), TypeError("x"), UNAVAILABLE)
    assert harness.breaker.is_open


def test_timeout_of_one_call_while_others_get_responses_does_not_count() -> None:
    harness = BreakerHarness()

    def time_out_after_another_response() -> None:
        with harness.breaker.calling():
            harness.call(None)
            raise TIMEOUT

    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(BackendTimeout):
            time_out_after_another_response()
    assert not harness.breaker.is_suspect


def test_breaker_is_suspect_from_first_failure_to_next_response() -> None:
    harness = BreakerHarness()
    harness.call(UNAVAILABLE)
    assert (harness.breaker.is_suspect, harness.breaker.is_open) == (True, False)
    harness.call(None)
    assert not harness.breaker.is_suspect


def test_breaker_is_suspect_while_a_call_is_slow() -> None:
    harness = BreakerHarness()
    with harness.breaker.calling():
        harness.now += SLOW_CALL_THRESHOLD
        assert not harness.breaker.is_suspect
        harness.now += 0.1
        assert harness.breaker.is_suspect
    assert not harness.breaker.is_suspect


def test_successful_probe_closes_breaker() -> None:
    harness = BreakerHarness(ping_error=TIMEOUT)
    with capture_logs() as logs:
        harness.call(*[UNAVAILABLE] * FAILURE_THRESHOLD)
        harness.breaker.probe()
        assert harness.breaker.is_open
        harness.now += 12
        harness.ping_error = None
        harness.breaker.probe()
    assert not harness.breaker.is_open
    harness.call(None)
    assert harness.pings == 2
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "circuit breaker opened"),
        ("info", "circuit breaker closed"),
    ]
    assert (logs[0]["reason"], logs[1]["seconds"]) == (UNAVAILABLE.detail, 12)


def test_failed_probes_count_as_failures() -> None:
    harness = BreakerHarness(ping_error=UNAVAILABLE)
    harness.call(UNAVAILABLE)
    for _ in range(FAILURE_THRESHOLD - 1):
        harness.breaker.probe()
    assert harness.breaker.is_open


def test_probe_with_refused_credentials_closes_breaker() -> None:
    harness = BreakerHarness(ping_error=Forbidden("wrong password"))
    harness.call(*[UNAVAILABLE] * FAILURE_THRESHOLD)
    harness.breaker.probe()
    assert not harness.breaker.is_open


def test_failures_of_calls_begun_before_a_response_do_not_open_breaker() -> None:
    harness, release = BreakerHarness(), threading.Event()
    begun = threading.Barrier(FAILURE_THRESHOLD + 1)

    def time_out_when_released() -> None:
        with harness.breaker.calling():
            begun.wait(GUARD_TIMEOUT)
            assert release.wait(GUARD_TIMEOUT)
            raise TIMEOUT

    with ThreadPoolExecutor(FAILURE_THRESHOLD) as pool:
        calls = [pool.submit(time_out_when_released) for _ in range(FAILURE_THRESHOLD)]
        begun.wait(GUARD_TIMEOUT)
        harness.breaker.probe()
        release.set()
        for call in calls:
            assert isinstance(call.exception(GUARD_TIMEOUT), BackendTimeout)
    assert not harness.breaker.is_suspect


def test_probe_thread_runs_until_a_response() -> None:
    harness = BreakerHarness(ping_error=UNAVAILABLE)
    harness.start_probe_thread()
    harness.call(UNAVAILABLE)
    wait_until(lambda: harness.breaker.is_open and harness.pings > FAILURE_THRESHOLD)
    harness.ping_error = None
    wait_until(lambda: not harness.breaker.is_open)
    wait_until(lambda: not probe_thread_runs())
    harness.call(UNAVAILABLE)
    wait_until(lambda: not harness.breaker.is_suspect)


def test_probe_thread_ends_when_probing_is_stopped() -> None:
    harness = BreakerHarness(ping_error=UNAVAILABLE)
    harness.start_probe_thread()
    harness.call(UNAVAILABLE)
    wait_until(lambda: harness.pings > 0)
    harness.breaker.stop_probing()
    wait_until(lambda: not probe_thread_runs())


def test_breaker_closes_when_the_probe_thread_could_not_start_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = BreakerHarness()
    harness.start_probe_thread()

    def fail_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        harness.call(*[UNAVAILABLE] * FAILURE_THRESHOLD)
        with pytest.raises(BackendUnavailable):
            harness.breaker.raise_if_open()
    assert harness.breaker.is_open
    with pytest.raises(BackendUnavailable):
        harness.breaker.raise_if_open()
    wait_until(lambda: not harness.breaker.is_open)


def test_metric_is_1_while_the_breaker_is_open(metrics: RecordedMetrics) -> None:
    harness = BreakerHarness()
    name, labels = "vmapi_circuit_breaker_open", {"dependency": "cloud"}
    values = [metrics.sum(name, **labels)]
    harness.call(*[UNAVAILABLE] * FAILURE_THRESHOLD)
    values.append(metrics.sum(name, **labels))
    harness.breaker.probe()
    values.append(metrics.sum(name, **labels))
    assert values == [0, 1, 0]
