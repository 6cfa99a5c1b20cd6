"""The bulkhead: requests that wait for a dependency without an answer are refused."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from vmapi.concurrency import bulkhead
from vmapi.concurrency.bulkhead import Bulkhead


class Refused(Exception):
    """The error of the bulkhead under test."""


class BulkheadHarness:
    """Requests in separate threads; their calls end when `answer` is set."""

    def __init__(self, pool: ThreadPoolExecutor, slots: int, *, admits_once: bool = False) -> None:
        self.bulkhead = Bulkhead(slots, Refused, admits_once=admits_once)
        self.answer = threading.Event()
        self._pool = pool
        self._in_call = 0
        self._lock = threading.Lock()

    def hang(self, count: int) -> list[Future[None]]:
        """Start requests that wait for the answer; return when all of them do."""
        futures = [self._pool.submit(self.request, self.wait) for _ in range(count)]
        wait_until(lambda: self._in_call == count)
        return futures

    def request(self, *calls: Callable[[], object]) -> None:
        bulkhead.begin_request()
        for call in calls:
            with self.bulkhead.occupying():
                call()

    def wait(self) -> None:
        with self._lock:
            self._in_call += 1
        assert self.answer.wait(GUARD_TIMEOUT)


@pytest.fixture
def start() -> Iterator[Callable[..., BulkheadHarness]]:
    harnesses: list[BulkheadHarness] = []
    with ThreadPoolExecutor(8) as pool:

        def build(slots: int, *, admits_once: bool = False) -> BulkheadHarness:
            harnesses.append(BulkheadHarness(pool, slots, admits_once=admits_once))
            return harnesses[-1]

        yield build
        for harness in harnesses:
            harness.answer.set()


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def stalls_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "STALL_SECONDS", 0.05)


@pytest.mark.usefixtures("stalls_soon")
def test_request_beyond_the_slots_is_refused(start: Callable[..., BulkheadHarness]) -> None:
    harness = start(2)
    hanging = harness.hang(2)
    for _ in range(3):
        with pytest.raises(Refused):
            harness.request(lambda: None)
    harness.answer.set()
    for future in hanging:
        future.result(GUARD_TIMEOUT)
    harness.request(lambda: None)


def test_request_waits_for_a_slot_of_a_busy_dependency(
    start: Callable[..., BulkheadHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkhead, "STALL_SECONDS", GUARD_TIMEOUT)
    harness = start(1)
    (hanging,) = harness.hang(1)
    threading.Timer(0.05, harness.answer.set).start()
    harness.request(lambda: None)
    hanging.result(GUARD_TIMEOUT)


def test_request_beyond_the_waiting_ones_is_refused_sooner(
    start: Callable[..., BulkheadHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkhead, "MAX_WAITING_REQUESTS", 0)
    monkeypatch.setattr(bulkhead, "STALL_SECONDS", GUARD_TIMEOUT)
    harness = start(1)
    harness.hang(1)
    with pytest.raises(Refused):
        harness.request(lambda: None)


def test_waiting_requests_count_for_all_bulkheads(
    start: Callable[..., BulkheadHarness],
    monkeypatch: pytest.MonkeyPatch,
    crowd: ThreadPoolExecutor,
) -> None:
    monkeypatch.setattr(bulkhead, "MAX_WAITING_REQUESTS", 1)
    monkeypatch.setattr(bulkhead, "STALL_SECONDS", GUARD_TIMEOUT)
    first, second = start(1), start(1)
    hanging = [*first.hang(1), *second.hang(1)]
    waiting = [crowd.submit(first.request, lambda: None) for _ in range(2)]
    # of the two, only the first one may wait long
    wait_until(lambda: any(future.done() for future in waiting))
    with pytest.raises(Refused):
        second.request(lambda: None)
    first.answer.set()
    second.answer.set()
    errors = [future.exception(GUARD_TIMEOUT) for future in (*waiting, *hanging)]
    assert [type(error) for error in errors if error] == [Refused]


@pytest.mark.usefixtures("stalls_soon")
def test_background_thread_is_never_refused(start: Callable[..., BulkheadHarness]) -> None:
    harness = start(1)
    harness.hang(1)

    def call() -> None:
        with harness.bulkhead.occupying():
            pass

    # a thread that no request has marked
    thread_errors: list[BaseException] = []
    thread = threading.Thread(target=_collect_error, args=(call, thread_errors))
    thread.start()
    thread.join(GUARD_TIMEOUT)
    assert thread_errors == []


def _collect_error(call: Callable[[], None], errors: list[BaseException]) -> None:
    try:
        call()
    except Exception as error:
        errors.append(error)


@pytest.mark.usefixtures("stalls_soon")
def test_nested_calls_share_a_slot(start: Callable[..., BulkheadHarness]) -> None:
    harness = start(1)
    bulkhead.begin_request()
    with harness.bulkhead.occupying(), harness.bulkhead.occupying():
        pass
    with harness.bulkhead.occupying():
        pass


@pytest.mark.usefixtures("stalls_soon")
def test_admitted_request_is_not_refused_later(start: Callable[..., BulkheadHarness]) -> None:
    harness = start(1, admits_once=True)
    harness.request(lambda: None, lambda: None)
    bulkhead.begin_request()
    with harness.bulkhead.occupying():
        pass
    harness.hang(1)
    with harness.bulkhead.occupying():
        pass
    with pytest.raises(Refused):
        harness.request(lambda: None)
