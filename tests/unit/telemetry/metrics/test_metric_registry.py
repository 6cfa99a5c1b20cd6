"""Metrics record values only where a registry enables them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.http_client import WAIT_SECONDS
from tests.support.metrics import RecordedMetrics
from tests.support.processes import ROOT, build_environment
from vmapi.telemetry.metrics import metric
from vmapi.telemetry.metrics.catalog import (
    ENGINE_SCAN_TIME_SECONDS,
    HTTP_REQUEST_SECONDS,
    INVENTORY_VMS,
    MALFORMED_REQUESTS,
    METRICS,
)
from vmapi.telemetry.metrics.metric import Counter, Gauge, Histogram
from vmapi.telemetry.metrics.registry import MetricRegistry

RECORD_AND_REPORT = """
import sys
from vmapi.telemetry.metrics.catalog import HTTP_REQUEST_SECONDS
HTTP_REQUEST_SECONDS.observe(0.1, "GET", "/livez", "200")
sys.exit("prometheus_client" in sys.modules)
"""

SCRAPE_WITH_A_NEW_PROCESS = """
import sys
from pathlib import Path
from vmapi.telemetry.metrics.catalog import MALFORMED_REQUESTS
from vmapi.telemetry.metrics.registry import MetricRegistry
directory = Path(sys.argv[1])
registry = MetricRegistry(directory, 0)
MALFORMED_REQUESTS.increment("InvalidHeader")
(directory / "counter_1.db").touch()
print(registry.encode()[0].decode())
"""


def test_file_that_another_process_has_just_created_fails_no_scrape(tmp_path: Path) -> None:
    command = (sys.executable, "-c", SCRAPE_WITH_A_NEW_PROCESS, str(tmp_path))
    output = subprocess.check_output(
        command, cwd=ROOT, env=build_environment(), text=True, timeout=WAIT_SECONDS
    )
    assert 'vmapi_malformed_requests_total{reason="InvalidHeader"} 1.0' in output


def test_metrics_load_no_library_until_they_are_enabled() -> None:
    command = (sys.executable, "-c", RECORD_AND_REPORT)
    environment = build_environment()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=WAIT_SECONDS)


def test_enabled_histogram_counts_by_labels(metrics: RecordedMetrics) -> None:
    for seconds in (0.002, 0.2):
        HTTP_REQUEST_SECONDS.observe(seconds, "GET", "/livez", "200")
    samples, name = metrics.read(), HTTP_REQUEST_SECONDS.name
    assert samples.sum(f"{name}_count", method="GET", route="/livez", status="200") == 2
    assert samples.sum(f"{name}_bucket", le="0.0025") == 1
    assert samples.sum(f"{name}_sum") == pytest.approx(0.202)


def test_gauge_that_was_never_set_has_no_value(metrics: RecordedMetrics) -> None:
    assert ENGINE_SCAN_TIME_SECONDS.name not in metrics.read().text


def test_counter_of_rare_events_begins_at_zero(metrics: RecordedMetrics) -> None:
    assert 'vmapi_engine_errors_total{task="reconcile"} 0.0' in metrics.read().text


def test_first_values_in_several_threads_are_all_counted(metrics: RecordedMetrics) -> None:
    def increment(_: int) -> None:
        MALFORMED_REQUESTS.increment("ParseException")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(200)))
    assert metrics.sum(MALFORMED_REQUESTS.name) == 200


def test_values_are_written_when_the_queue_is_long(
    metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.read()
    monkeypatch.setattr(metric, "MAX_QUEUED_VALUES", 2)
    written = []
    monkeypatch.setattr(MALFORMED_REQUESTS, "write", lambda labels, value: written.append(labels))
    for reason in "abc":
        MALFORMED_REQUESTS.increment(reason)
    assert written == [("a",), ("b",), ("c",)]


def test_value_that_cannot_be_written_is_logged_and_loses_no_other(
    metrics: RecordedMetrics,
) -> None:
    HTTP_REQUEST_SECONDS.observe(0.2, "too", "few")
    HTTP_REQUEST_SECONDS.observe(0.2, "GET", "/livez", "200")
    with capture_logs() as logs:
        count = metrics.sum(f"{HTTP_REQUEST_SECONDS.name}_count")
    assert count == 1
    assert [line["event"] for line in logs] == ["metrics could not be written"]


def test_disabled_metric_records_nothing(metrics: RecordedMetrics) -> None:
    metrics.registry.disable()
    HTTP_REQUEST_SECONDS.observe(0.2, "GET", "/livez", "200")
    assert metrics.read().sum(f"{HTTP_REQUEST_SECONDS.name}_count") == 0


def test_new_registry_begins_with_no_values(metrics: RecordedMetrics) -> None:
    HTTP_REQUEST_SECONDS.observe(0.2, "GET", "/livez", "200")
    assert RecordedMetrics(MetricRegistry()).read().sum(f"{HTTP_REQUEST_SECONDS.name}_count") == 0


def test_source_is_read_at_each_scrape(metrics: RecordedMetrics) -> None:
    count = iter((3, 5))
    metrics.registry.add_source(lambda: [(INVENTORY_VMS, ("RUNNING",), next(count))])
    assert metrics.read().sum(INVENTORY_VMS.name, status="RUNNING") == 3
    assert metrics.read().sum(INVENTORY_VMS.name, status="RUNNING") == 5


@pytest.mark.parametrize("declared", METRICS, ids=lambda declared: declared.name)
def test_names_follow_the_conventions_of_prometheus(declared: metric.Metric) -> None:
    """`promtool check metrics` checks the same on a running server."""
    assert declared.name.startswith("vmapi_")
    assert declared.name.endswith("_total") == isinstance(declared, Counter)
    if isinstance(declared, Histogram):
        assert declared.name.endswith("_seconds")
        assert list(declared.buckets) == sorted(declared.buckets)
    assert declared.help.endswith(".")
    # Prometheus adds job and instance itself
    assert not {"id", "vm_id", "path", "pid", "job", "instance", "le"} & set(declared.labels)


def test_each_metric_has_one_declaration() -> None:
    names = [declared.name for declared in METRICS]
    assert len(names) == len(set(names))
    assert all(isinstance(declared, Counter | Gauge | Histogram) for declared in METRICS)
