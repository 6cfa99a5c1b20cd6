"""The state of the database and of the process as samples of metrics."""

import os
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.metrics import RecordedMetrics
from tests.support.remote_cloud import RemoteBackend, sync_inventory
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.engine.external import ExternalEngine
from vmapi.errors import StoreUnavailable
from vmapi.services.process_metrics import ProcessMetrics
from vmapi.services.state_metrics import DatabaseMetrics, build_samples
from vmapi.settings.settings import Settings
from vmapi.store.store import Store


@pytest.fixture
def database_metrics(harness: ApiHarness, metrics: RecordedMetrics) -> RecordedMetrics:
    metrics.registry.add_source(DatabaseMetrics(harness.services.store).collect)
    return metrics


@pytest.mark.parametrize("latency", ["stop=5"])
def test_unfinished_operations_and_vms_are_counted(
    harness: ApiHarness, database_metrics: RecordedMetrics
) -> None:
    vm_id = harness.create_running()
    harness.post_action(vm_id, "stop")
    samples = database_metrics.read()
    assert samples.sum("vmapi_database_up") == 1
    assert samples.sum("vmapi_operations_unfinished", action="stop") == 1
    assert samples.sum("vmapi_operations_unfinished") == 1
    assert samples.sum("vmapi_operations_oldest_unfinished_age_seconds", action="create") == 0
    assert samples.sum("vmapi_operation_leases", state="held") == 1
    assert samples.sum("vmapi_inventory_vms", status="RUNNING") == 1
    assert samples.labels("vmapi_inventory_vms", "status") >= {"RUNNING", "ERROR", "DELETED"}


class UnavailableStore:
    """A store on a database that does not answer."""

    @property
    def statistics(self) -> Any:
        raise StoreUnavailable("no answer")


def test_unavailable_database_is_reported_as_down(metrics: RecordedMetrics) -> None:
    unavailable: Any = UnavailableStore()
    metrics.registry.add_source(DatabaseMetrics(unavailable).collect)
    samples = metrics.read()
    assert "vmapi_database_up 0.0" in samples.text
    assert "vmapi_inventory_vms" not in samples.names()


class TestRemoteCloud:
    """The inventory of a cloud that has to be synced."""

    @pytest.fixture
    def backend(self, clock: Any) -> MemoryBackend:
        return RemoteBackend(clock=clock, sleep=clock.sleep)

    def test_syncs_are_counted_with_their_age_and_leader(
        self, harness: ApiHarness, database_metrics: RecordedMetrics
    ) -> None:
        sync_inventory(harness)
        samples = database_metrics.read()
        for kind in ("full", "changes"):
            name = "vmapi_inventory_sync_duration_seconds_count"
            assert samples.sum(name, kind=kind, outcome="success") == 1
        assert samples.labels("vmapi_inventory_sync_age_seconds", "kind") == {"full", "changes"}
        for lease in ("sync", "full-sync"):
            assert samples.sum("vmapi_leader_leases", lease=lease) == 1
            assert samples.sum("vmapi_leader", lease=lease) == 1

    def test_failed_sync_is_counted(
        self, harness: ApiHarness, database_metrics: RecordedMetrics
    ) -> None:
        harness.backend.set_faults("unavailable=100%")
        sync_inventory(harness)
        name = "vmapi_inventory_sync_duration_seconds_count"
        assert database_metrics.sum(name, kind="full", outcome="failure") == 1


def test_resources_of_the_process_are_sampled(harness: ApiHarness) -> None:
    harness.create()
    process = ProcessMetrics(harness.services.store, ExternalEngine())
    samples = {(metric.name, labels): value for metric, labels, value in process.collect()}
    assert samples["vmapi_processes", ()] == 1
    assert samples["vmapi_process_resident_memory_bytes", ()] > 1_000_000
    assert 3 < samples["vmapi_process_open_fds", ()] < samples["vmapi_process_max_fds", ()]
    assert samples["vmapi_process_threads", ()] >= 1
    assert samples["vmapi_database_pool_connections", ("used",)] == 0
    assert samples["vmapi_database_pool_connections", ("idle",)] >= 1


def test_connection_in_use_is_sampled(harness: ApiHarness) -> None:
    store = harness.services.store
    with store.database.read():
        usage = store.pool_usage()
    assert usage is not None
    assert usage.used == 1


def test_sampling_opens_no_database() -> None:
    store = Store(None, 2, lambda: datetime.now(UTC))
    names = {metric.name for metric, _, _ in ProcessMetrics(store, ExternalEngine()).collect()}
    assert "vmapi_database_pool_connections" not in names
    assert store.pool_usage() is None


def test_build_is_described() -> None:
    ((metric, labels, value),) = build_samples(Settings(engine="worker"), "api")
    described = dict(zip(metric.labels, labels, strict=True))
    assert (described["backend"], described["engine"], described["role"]) == (
        "memory",
        "worker",
        "api",
    )
    assert value == 1
    assert os.environ.get("PROMETHEUS_MULTIPROC_DIR") is None
