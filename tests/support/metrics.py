"""Samples of metrics: scraped from a server, or recorded in the process of the test."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.support.http_client import HttpClient
from tests.support.processes import Gunicorn
from vmapi.telemetry.metrics.catalog import METRICS
from vmapi.telemetry.metrics.metric import Histogram
from vmapi.telemetry.metrics.registry import MetricRegistry

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class ServerWithMetrics:
    """A gunicorn, and the port of its metrics."""

    api: Gunicorn
    port: int


def parse_samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the values of a text in the format of Prometheus, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(port: int) -> "Scrape":
    """Scrape the metrics of a server."""
    response = HttpClient(port)("GET", "/metrics")
    assert response.status == 200, response
    return Scrape(response.body.decode())


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = parse_samples(text)

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the values of a metric with these labels, among others."""
        return sum(
            value
            for (sample_name, sample_labels), value in self._samples.items()
            if sample_name == name and labels.items() <= sample_labels
        )

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        return {dict(labels)[label] for sample_name, labels in self._samples if sample_name == name}

    def names(self) -> set[str]:
        """Return the names of the metrics."""
        return set(re.findall(r"^# TYPE (\S+)", self.text, re.M))


class RecordedMetrics:
    """The metrics of a registry in the process of the test."""

    def __init__(self, registry: MetricRegistry) -> None:
        self.registry = registry

    def read(self) -> Scrape:
        """Return the present values."""
        return Scrape(self.registry.encode()[0].decode())

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the present values of a metric with these labels, among others."""
        return self.read().sum(name, **labels)


def series_names() -> set[str]:
    """Return the names of the series of all declared metrics."""
    names = set()
    for metric in METRICS:
        suffixes = ("_bucket", "_count", "_sum") if isinstance(metric, Histogram) else ("",)
        names |= {metric.name + suffix for suffix in suffixes}
    return names
