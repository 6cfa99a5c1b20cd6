"""The values of all metrics in one process, or in the worker processes of one server.

Several processes share a directory: each process writes its values to files there, and any of them
can answer a scrape for all. `slot` names the files of a process. A new process in the slot of a
dead one continues its counters, so that they never fall, and files do not accumulate.
"""

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from vmapi.telemetry.metrics.catalog import METRICS
from vmapi.telemetry.metrics.metric import (
    Counter,
    Gauge,
    Histogram,
    Metric,
    SampleSource,
    flush,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.core import Metric as PrometheusMetric

log = structlog.get_logger("vmapi.metrics")

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client finds the directory."""


class MetricRegistry:
    """Enables the metrics of this process; `directory` and `slot` are for several processes."""

    def __init__(self, directory: Path | None = None, slot: int = 0) -> None:
        if directory is not None:
            # before the import, which reads it
            os.environ[DIRECTORY_VARIABLE] = str(directory)
        from prometheus_client import CollectorRegistry, disable_created_metrics, values

        # series with the times of creation: Prometheus sees the resets of counters without them
        disable_created_metrics()  # type: ignore[no-untyped-call]
        # the values of an earlier registry of this process
        flush()
        self._registry = CollectorRegistry()
        self._scraped = self._registry
        if directory is not None:
            values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
            self._scraped = CollectorRegistry()
            self._scraped.register(DirectoryCollector(directory))
        for metric in METRICS:
            if not (isinstance(metric, Gauge) and metric.is_of_database):
                metric.bind(partial(_create_family, metric, self._registry))

    def add_source(self, source: SampleSource) -> None:
        """Read the gauges `of_database` from a function at each scrape."""
        self._scraped.register(SourceCollector(source))

    def encode(self, accepted: str = "") -> tuple[bytes, str]:
        """Return the metrics of all processes in the format of an `Accept` header, and its name.

        Values that other processes have recorded in the last second may be missing.
        """
        from prometheus_client.exposition import choose_encoder

        flush()
        encode, media_type = choose_encoder(accepted)
        return encode(self._scraped), media_type

    def disable(self) -> None:
        """Record nothing from now on."""
        for metric in METRICS:
            metric.bind(None)


class SourceCollector:
    """A collector of prometheus_client that reads samples from a function."""

    def __init__(self, source: SampleSource) -> None:
        self._source = source

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        """Return the samples of the function."""
        from prometheus_client.core import GaugeMetricFamily

        families: dict[str, GaugeMetricFamily] = {}
        for metric, labels, value in self._source():
            if metric.name not in families:
                families[metric.name] = GaugeMetricFamily(
                    metric.name, metric.help, labels=metric.labels
                )
            families[metric.name].add_metric(labels, value)
        yield from families.values()

    def describe(self) -> tuple[()]:
        """Return nothing: otherwise the registration would read the samples."""
        return ()


class DirectoryCollector:
    """A collector of prometheus_client that merges the files of all processes.

    `MultiProcessCollector.collect` fails on a file that another process has just created: it is
    empty until that process sets its size.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> "Iterable[PrometheusMetric]":
        """Return the metrics of all files."""
        from prometheus_client.multiprocess import MultiProcessCollector

        files = [str(path) for path in self._directory.glob("*.db") if _has_size(path)]
        return MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call,no-any-return]

    def describe(self) -> tuple[()]:
        """Return nothing: otherwise the registration would read the files."""
        return ()


def _has_size(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        # the process has ended
        return False


def _create_family(metric: Metric, registry: "CollectorRegistry") -> Any:
    import prometheus_client

    options: dict[str, Any] = {"registry": registry}
    match metric:
        case Counter():
            return prometheus_client.Counter(metric.name, metric.help, metric.labels, **options)
        case Gauge():
            options["multiprocess_mode"] = metric.mode
            return prometheus_client.Gauge(metric.name, metric.help, metric.labels, **options)
        case Histogram():
            options["buckets"] = metric.buckets
            return prometheus_client.Histogram(metric.name, metric.help, metric.labels, **options)
    raise TypeError(type(metric))


def remove_gauges(directory: Path, slot: int) -> None:
    """Remove the gauges of a dead process."""
    for path in directory.glob(f"gauge_live*_{slot}.db"):
        path.unlink(missing_ok=True)
