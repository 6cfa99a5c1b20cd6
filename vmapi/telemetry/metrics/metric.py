"""Metrics that cost nothing until a registry enables them, and little afterwards.

A declared metric is a module constant, as a logger is. Code records values with it in any process.
`MetricRegistry` gives each metric a family of `prometheus_client`, which has its values. Without
one, recording returns at once, and `prometheus_client` is not loaded.

Recording appends to a queue. `flush` writes the queue to the families: every second in a thread,
and before the process answers a scrape. So a request pays less than a microsecond for a value, and
not the write to a mapped file.
"""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import structlog

log = structlog.get_logger("vmapi.metrics")

MultiprocessMode = Literal["livesum", "livemax", "livemin"]
Sample = tuple["Gauge", tuple[str, ...], float]
"""A gauge, the values of its labels, and its value."""

SampleSource = Callable[[], Iterable[Sample]]

MAX_QUEUED_VALUES = 20_000
"""Queued values after which the recording thread writes them itself."""

RESPONSE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds, from a read of cached data to a response that waits for the cloud."""

OPERATION_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds, from a change of the in-memory cloud to the longest deadline of an operation."""


_queue: deque[tuple["Metric", tuple[str, ...], float]] = deque()
_write_lock = threading.Lock()


def flush() -> None:
    """Write the queued values to their families."""
    with _write_lock:
        failure: Exception | None = None
        # not those that other threads add in the meantime
        for _ in range(len(_queue)):
            metric, labels, value = _queue.popleft()
            try:
                metric.write(labels, value)
            except Exception as error:
                failure = error
    if failure is not None:
        log.error("metrics could not be written", exc_info=failure)


class Metric(ABC):
    """A declared metric; `labels` are names of labels with few values."""

    kind: str

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self._create_family: Callable[[], Any] | None = None
        self._family: Any = None
        self._children: dict[tuple[str, ...], Any] = {}

    def bind(self, create_family: Callable[[], Any] | None) -> None:
        """Record values in a family, or nowhere.

        The first value creates the family: a gauge that was never set has no value.
        """
        with _write_lock:
            self._children, self._family, self._create_family = {}, None, create_family

    def write(self, labels: tuple[str, ...], value: float) -> None:
        """Write a value to the family; `flush` calls this."""
        if self._create_family is None:
            return
        child = self._children.get(labels)
        if child is None:
            if self._family is None:
                self._family = self._create_family()
            child = self._family.labels(*labels) if labels else self._family
            self._children[labels] = child
        self._write(child, value)

    @abstractmethod
    def _write(self, child: Any, value: float) -> None: ...

    def _record(self, value: float, labels: tuple[str, ...]) -> None:
        if self._create_family is not None:
            _queue.append((self, labels, value))
            if len(_queue) > MAX_QUEUED_VALUES:
                flush()


class Counter(Metric):
    """A number of events; its name ends with `_total`.

    The counters of the `initial` values of its label begin at 0. Prometheus sees no increase when a
    counter appears with its first event.
    """

    kind = "counter"

    def __init__(self, name: str, help: str, *labels: str, initial: Sequence[str] = ()) -> None:
        super().__init__(name, help, *labels)
        self._initial = initial

    def bind(self, create_family: Callable[[], Any] | None) -> None:
        """Record values in a family, or nowhere."""
        super().bind(create_family)
        for label in self._initial:
            self._record(0, (label,))

    def increment(self, *labels: str) -> None:
        """Count an event."""
        self._record(1, labels)

    def _write(self, child: Any, value: float) -> None:
        child.inc(value)


class Gauge(Metric):
    """A value that rises and falls.

    `mode` combines the values of the worker processes of a server: their sum, the highest, or the
    lowest. A gauge `of_database` has one value for all processes, and is read when Prometheus
    scrapes.
    """

    kind = "gauge"

    def __init__(
        self,
        name: str,
        help: str,
        *labels: str,
        mode: MultiprocessMode = "livesum",
        of_database: bool = False,
    ) -> None:
        super().__init__(name, help, *labels)
        self.mode: MultiprocessMode = mode
        self.is_of_database = of_database

    def set(self, value: float, *labels: str) -> None:
        """Set the value of this process."""
        self._record(value, labels)

    def _write(self, child: Any, value: float) -> None:
        child.set(value)


class Histogram(Metric):
    """The distribution of a duration in seconds; `_count` is the number of events."""

    kind = "histogram"

    def __init__(self, name: str, help: str, *labels: str, buckets: Sequence[float]) -> None:
        super().__init__(name, help, *labels)
        self.buckets = buckets

    def observe(self, seconds: float, *labels: str) -> None:
        """Record a duration."""
        self._record(seconds, labels)

    def _write(self, child: Any, value: float) -> None:
        child.observe(value)
