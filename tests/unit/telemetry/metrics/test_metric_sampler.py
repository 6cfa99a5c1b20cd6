"""The thread that samples gauges."""

import threading

from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT
from tests.support.metrics import RecordedMetrics
from vmapi.telemetry.metrics.catalog import THREADS
from vmapi.telemetry.metrics.metric import Sample
from vmapi.telemetry.metrics.sampler import MetricSampler


class CountingSource:
    """A source of the number of its calls; call `failing` raises."""

    def __init__(self, failing: int = 0) -> None:
        self.calls = 0
        self.failing = failing
        self.called_thrice = threading.Event()

    def collect(self) -> list[Sample]:
        self.calls += 1
        if self.calls == 3:
            self.called_thrice.set()
        if self.calls == self.failing:
            raise ValueError
        return [(THREADS, (), self.calls)]


def test_first_sample_is_taken_at_the_start(metrics: RecordedMetrics) -> None:
    sampler = MetricSampler(CountingSource().collect, 60)
    sampler.start()
    sampler.stop()
    assert metrics.sum(THREADS.name) == 1


def test_samples_repeat_after_an_error(metrics: RecordedMetrics) -> None:
    source = CountingSource(failing=2)
    sampler = MetricSampler(source.collect, 0.001)
    with capture_logs() as logs:
        sampler.start()
        assert source.called_thrice.wait(GUARD_TIMEOUT)
        sampler.stop()
    assert [line["event"] for line in logs] == ["metrics could not be sampled"]
    assert metrics.sum(THREADS.name) == source.calls
