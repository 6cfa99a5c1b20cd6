"""A Keystone that does not respond: bounded waits, no calls, recovery."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.metrics import RecordedMetrics
from vmapi.auth.keystone_breaker import (
    FAILURE_THRESHOLD,
    KEYSTONE_RETRY_AFTER,
    KeystoneBreaker,
    KeystoneUnresponsive,
)
from vmapi.concurrency import bulkhead
from vmapi.errors import IssuerUnavailable, Unauthenticated


class BreakerHarness:
    """A breaker in front of a Keystone that responds when `responds` is set."""

    def __init__(self) -> None:
        self.responds = threading.Event()
        self.calls = self.pings = 0
        self.breaker = KeystoneBreaker(self._ping, slots=2, probe_interval=0.001)

    def call(self, outcome: Exception | None = None) -> None:
        with self.breaker.calling():
            self.calls += 1
            if outcome is not None:
                raise outcome

    def fail(self, count: int) -> None:
        for _ in range(count):
            with pytest.raises(KeystoneUnresponsive):
                self.call(KeystoneUnresponsive("no response"))

    def _ping(self) -> None:
        self.pings += 1
        if not self.responds.is_set():
            raise KeystoneUnresponsive("no response")


@pytest.fixture
def harness() -> Iterator[BreakerHarness]:
    harness = BreakerHarness()
    yield harness
    harness.breaker.stop_probing()


def test_keystone_without_response_gets_no_further_calls(harness: BreakerHarness) -> None:
    with capture_logs() as logs:
        harness.fail(FAILURE_THRESHOLD)
        with pytest.raises(IssuerUnavailable) as caught:
            harness.call()
    assert (harness.calls, caught.value.retry_after) == (FAILURE_THRESHOLD, KEYSTONE_RETRY_AFTER)
    assert [line["log_level"] for line in logs] == ["warning"]


def test_response_to_a_probe_ends_the_refusals(harness: BreakerHarness) -> None:
    harness.fail(FAILURE_THRESHOLD)
    with pytest.raises(IssuerUnavailable):
        harness.call()
    wait_until(lambda: harness.pings > 1)
    assert harness.breaker.is_open
    harness.responds.set()
    wait_until(lambda: not harness.breaker.is_open)
    harness.call()


def test_single_failures_between_responses_refuse_nothing(harness: BreakerHarness) -> None:
    for _ in range(2 * FAILURE_THRESHOLD):
        harness.fail(1)
        harness.call()


@pytest.mark.parametrize("response", [IssuerUnavailable("503"), Unauthenticated("unscoped")])
def test_error_response_is_no_failure(harness: BreakerHarness, response: Exception) -> None:
    for _ in range(2 * FAILURE_THRESHOLD):
        with pytest.raises(type(response)):
            harness.call(response)
    assert not harness.breaker.is_open


def test_hanging_keystone_holds_its_slots_only(
    harness: BreakerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkhead, "STALL_SECONDS", 0.05)

    def request(call: Callable[[], object]) -> None:
        bulkhead.begin_request()
        with harness.breaker.calling():
            harness.calls += 1
            call()

    with ThreadPoolExecutor(2) as pool:
        hanging = [pool.submit(request, lambda: harness.responds.wait(GUARD_TIMEOUT)) for _ in "ab"]
        wait_until(lambda: harness.calls == 2)
        with pytest.raises(IssuerUnavailable):
            request(lambda: None)
        harness.responds.set()
        for future in hanging:
            future.result(GUARD_TIMEOUT)
    request(lambda: None)


def test_metric_is_1_while_keystone_does_not_respond(
    metrics: RecordedMetrics, harness: BreakerHarness
) -> None:
    name, labels = "vmapi_circuit_breaker_open", {"dependency": "keystone"}
    values = [metrics.sum(name, **labels)]
    with capture_logs():
        harness.fail(FAILURE_THRESHOLD)
        values.append(metrics.sum(name, **labels))
        harness.responds.set()
        with pytest.raises(IssuerUnavailable):
            harness.call()
        wait_until(lambda: not harness.breaker.is_open)
    values.append(metrics.sum(name, **labels))
    assert values == [0, 1, 0]
