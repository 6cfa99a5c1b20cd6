"""The probe loop: one thread while the service is unavailable, and none afterwards."""

import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import wait_until
from vmapi.concurrency.probe_loop import ProbeLoop

NAME = "test-probe"


class Service:
    """A service that responds again after some failing probes."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.probes = 0
        self.loop = ProbeLoop(NAME, 0.001, self.probe, lambda: self.failures > 0)

    def probe(self) -> None:
        self.probes += 1
        self.failures -= 1


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service(failures=3)
    yield service
    service.loop.stop(wait=True)


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_loop_probes_until_the_service_responds(service: Service) -> None:
    service.loop.start()
    wait_until(lambda: not running())
    assert (service.failures, service.probes) == (0, 3)


def test_loop_starts_again_after_the_next_failure(service: Service) -> None:
    service.loop.start()
    wait_until(lambda: not running())
    service.failures = 1
    service.loop.start()
    wait_until(lambda: not running())
    assert (service.failures, service.probes) == (0, 4)


def test_start_of_a_running_loop_starts_no_second_thread(service: Service) -> None:
    service.failures = 1_000_000
    for _ in range(10):
        service.loop.start()
    assert len(running()) == 1


def test_start_without_a_failure_starts_no_thread() -> None:
    service = Service(failures=0)
    service.loop.start()
    assert running() == []


def test_stopped_loop_does_not_start(service: Service) -> None:
    service.loop.stop()
    service.loop.start()
    assert running() == []


def test_unexpected_error_is_logged_and_does_not_end_the_loop(service: Service) -> None:
    def probe() -> None:
        service.probe()
        raise KeyError("defect")

    service.loop = ProbeLoop(NAME, 0.001, probe, lambda: service.failures > 0)
    with capture_logs() as logs:
        service.loop.start()
        wait_until(lambda: not running())
    assert service.failures == 0
    assert [(line["event"], line["probe"]) for line in logs] == [("probe failed", NAME)] * 3


def test_loop_without_a_free_thread_starts_at_the_next_failure(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        service.loop.start()
    service.loop.start()
    wait_until(lambda: service.failures == 0)
