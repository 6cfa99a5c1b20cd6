"""Operations are counted by action and outcome when they end, whatever ends them."""

import pytest

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.metrics import RecordedMetrics

COUNT = "vmapi_operation_duration_seconds_count"
SUM = "vmapi_operation_duration_seconds_sum"


def count(metrics: RecordedMetrics) -> dict[tuple[str, str], float]:
    """Return the number of finished operations by action and outcome."""
    samples = metrics.read()
    labels = [("create", "succeeded"), ("stop", "succeeded"), ("stop", "superseded")]
    labels += [("delete", "succeeded"), ("create", "failed"), ("stop", "failed")]
    counts = {pair: samples.sum(COUNT, action=pair[0], outcome=pair[1]) for pair in labels}
    return {pair: number for pair, number in counts.items() if number}


def test_operation_that_ends_in_its_request_is_counted_once(
    harness: ApiHarness, metrics: RecordedMetrics
) -> None:
    harness.create()
    assert count(metrics) == {("create", "succeeded"): 1}


@pytest.mark.parametrize("latency", ["stop=5"])
def test_operation_that_the_engine_ends_has_its_duration(
    harness: ApiHarness, metrics: RecordedMetrics
) -> None:
    vm_id = harness.create_running()
    assert harness.post_action(vm_id, "stop").status_code == 202
    assert count(metrics) == {("create", "succeeded"): 1}
    harness.run_until_settled()
    assert count(metrics) == {("create", "succeeded"): 1, ("stop", "succeeded"): 1}
    assert metrics.sum(SUM, action="stop") >= 5


@pytest.mark.parametrize("latency", ["stop=5"])
def test_superseded_operation_is_counted(harness: ApiHarness, metrics: RecordedMetrics) -> None:
    vm_id = harness.create_running()
    harness.post_action(vm_id, "stop")
    harness.call("DELETE", f"/vms/{vm_id}")
    assert count(metrics)["stop", "superseded"] == 1


@pytest.mark.parametrize("latency", ["stop=5"])
def test_operation_that_a_bulk_delete_supersedes_is_counted(
    harness: ApiHarness, metrics: RecordedMetrics
) -> None:
    vm_id = harness.create_running()
    harness.post_action(vm_id, "stop")
    harness.post("/vms/actions", {"action": "delete", "ids": [vm_id]})
    assert count(metrics)["stop", "superseded"] == 1


@pytest.mark.parametrize("latency", ["stop=5"])
def test_failed_operation_is_counted_by_its_code(
    harness: ApiHarness, metrics: RecordedMetrics
) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("action_failed=1")
    harness.post_action(vm_id, "stop")
    harness.run_until_settled()
    assert count(metrics)["stop", "failed"] == 1
    assert metrics.sum("vmapi_operations_failed_total", action="stop", code="backend_error") == 1


def test_refused_change_is_no_operation(harness: ApiHarness, metrics: RecordedMetrics) -> None:
    assert harness.post_action(UNKNOWN_ID, "stop").status_code == 404
    assert count(metrics) == {}
