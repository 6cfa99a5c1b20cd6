"""Write the recorded values, and set gauges that no event moves, in a thread of each process.

Another process may answer the scrape: memory and connections cannot be read when it arrives.
"""

import threading

import structlog

from vmapi.telemetry.metrics.metric import SampleSource, flush

log = structlog.get_logger("vmapi.metrics")

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples."""


class MetricSampler:
    """Sets the gauges of a function, and writes all recorded values, every `interval` seconds."""

    def __init__(self, source: SampleSource, interval: float = SAMPLE_INTERVAL) -> None:
        self._source = source
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-sampler", daemon=True)

    def start(self) -> None:
        """Sample now, and start the thread."""
        self._sample()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and write the last values."""
        self._stopping.set()
        self._thread.join()
        flush()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._sample()

    def _sample(self) -> None:
        try:
            for metric, labels, value in self._source():
                metric.set(value, *labels)
        except Exception:
            log.exception("metrics could not be sampled")
        flush()
