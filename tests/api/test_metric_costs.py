"""A request records few metrics: each costs time of the request."""

from collections.abc import Callable

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.metrics import RecordedMetrics
from vmapi.telemetry.metrics.catalog import METRICS
from vmapi.telemetry.metrics.metric import Metric

MAX_RECORDINGS_OF_A_READ = 1
MAX_RECORDINGS_OF_A_CHANGE = 6


@pytest.fixture
def count_recordings(
    harness: ApiHarness, metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], list[str]]:
    """Return a function that sends a request and returns the names of the metrics it records."""
    recorded: list[str] = []

    def watch(metric: Metric) -> None:
        def write(*_: object) -> None:
            recorded.append(metric.name)

        monkeypatch.setattr(metric, "write", write)

    def send(method: str, path: str) -> list[str]:
        metrics.read()
        recorded.clear()
        assert harness.call(method, path).status_code == 200
        metrics.read()
        return list(recorded)

    for metric in METRICS:
        watch(metric)
    return send


def test_read_records_its_duration_only(
    harness: ApiHarness, count_recordings: Callable[[str, str], list[str]]
) -> None:
    vm_id = harness.create_running()
    for path in (f"/vms/{vm_id}", "/vms", f"/vms/{vm_id}/status"):
        # the first read of a list fills caches
        count_recordings("GET", path)
        names = count_recordings("GET", path)
        assert len(names) <= MAX_RECORDINGS_OF_A_READ, names


def test_change_records_its_duration_its_transactions_and_its_outcome(
    harness: ApiHarness, count_recordings: Callable[[str, str], list[str]]
) -> None:
    vm_id = harness.create_running()
    names = count_recordings("POST", f"/vms/{vm_id}/stop")
    assert len(names) <= MAX_RECORDINGS_OF_A_CHANGE, names
    assert "vmapi_operation_duration_seconds" in names
