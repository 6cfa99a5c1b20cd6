"""The engine thread: start, scans, errors, stop."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.factories import OPERATION_1, VM_1
from tests.support.metrics import RecordedMetrics
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.engine.thread import EngineThread
from vmapi.errors import StoreUnavailable
from vmapi.services.periodic import PeriodicTask
from vmapi.services.reconciler.poller import DueOperation

A, B = replace(OPERATION_1, id="a"), replace(OPERATION_1, id="b", request_id="req-b")
GUARD_TIMEOUT = 60.0
"""Seconds after which a test fails."""


class FakeSource:
    """Operations that finish after a number of reconciles."""

    def __init__(self, **remaining: int) -> None:
        self.remaining = remaining
        self.drained = threading.Event()
        self.task_called = threading.Event()
        self.failing_id = ""
        self.error: Exception = RuntimeError("a defect")
        self.unavailable_scans = 0
        self.failed = threading.Event()
        self.observed_vms: dict[str, VM] = {}
        self.received_vms: dict[str, VM | None] = {}
        self.contexts: list[dict[str, object]] = []

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        if self.unavailable_scans:
            self.unavailable_scans -= 1
            self.failed.set()
            raise StoreUnavailable("no response")
        return [
            DueOperation(operation, self.observed_vms.get(operation.id)) for operation in operations
        ]

    def list_leased(self) -> Sequence[Operation]:
        unfinished = [op for op in (A, B) if self.remaining.get(op.id)]
        if not unfinished:
            self.drained.set()
        return unfinished

    def run_task(self) -> None:
        self.task_called.set()

    def reconcile(self, operation: Operation, observed_vm: VM | None) -> Operation:
        self.received_vms[operation.id] = observed_vm
        self.contexts.append(structlog.contextvars.get_contextvars())
        self.remaining[operation.id] -= 1
        if operation.id == self.failing_id:
            raise self.error
        return operation


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick_seconds=0.001)
    yield engine
    engine.stop()


def engine_thread_names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_engine_starts_no_thread_before_notify(engine: EngineThread) -> None:
    source = FakeSource(a=1)
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    assert engine_thread_names() == []


def test_engine_reconciles_until_all_are_finished_and_again_after_notify(
    engine: EngineThread,
) -> None:
    source = FakeSource(a=3, b=1)
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    engine.notify()
    assert source.drained.wait(GUARD_TIMEOUT)
    assert source.remaining == {"a": 0, "b": 0}
    source.drained.clear()
    source.remaining["b"] = 2
    engine.notify()
    assert source.drained.wait(GUARD_TIMEOUT)
    assert source.remaining == {"a": 0, "b": 0}
    assert engine_thread_names().count("engine") == 1


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        (RuntimeError("a defect"), "reconcile failed", "error"),
        (StoreUnavailable("no response"), "operation deferred", "debug"),
    ],
)
def test_failed_reconcile_does_not_stop_the_engine(
    engine: EngineThread, error: Exception, event: str, level: str
) -> None:
    source = FakeSource(a=2, b=2)
    source.failing_id, source.error = "a", error
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    with capture_logs() as logs:
        engine.notify()
        assert source.drained.wait(GUARD_TIMEOUT)
    assert source.remaining == {"a": 0, "b": 0}
    lines = {(line["event"], line["operation_id"], line["log_level"]) for line in logs}
    assert lines == {(event, "a", level)}


def test_log_context_names_the_request_of_the_operation(engine: EngineThread) -> None:
    source = FakeSource(b=1)
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    engine.notify()
    assert source.drained.wait(GUARD_TIMEOUT)
    assert source.contexts == [{"request_id": "req-b", "user": "anonymous"}]


def test_stopped_engine_does_not_start_again(engine: EngineThread) -> None:
    source = FakeSource(a=1_000_000)
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    engine.notify()
    engine.stop()
    engine.notify()
    assert engine_thread_names() == []
    assert source.remaining["a"] > 0


def test_engine_stops_before_its_first_notify() -> None:
    engine = EngineThread()
    engine.stop()
    engine.notify()
    assert engine_thread_names() == []


def test_engine_without_a_source_starts_and_stops() -> None:
    engine = EngineThread(tick_seconds=0.001)
    engine.notify()
    engine.stop()
    assert engine_thread_names() == []


def test_unavailable_store_does_not_stop_the_engine() -> None:
    source = FakeSource(a=1)
    engine = EngineThread(tick_seconds=0.001)
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    source.unavailable_scans = 1
    with capture_logs() as logs:
        engine.notify()
        assert source.failed.wait(GUARD_TIMEOUT)
        # scan now, not after IDLE_SCAN_INTERVAL
        engine.notify()
        assert source.drained.wait(GUARD_TIMEOUT)
        engine.stop()
    assert source.remaining == {"a": 0}
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("store unavailable, engine paused", "no response")
    ]


def test_engine_passes_the_observed_vm_to_reconcile(engine: EngineThread) -> None:
    source = FakeSource(a=1, b=1)
    source.observed_vms["a"] = VM_1
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    engine.notify()
    assert source.drained.wait(GUARD_TIMEOUT)
    assert source.received_vms == {"a": VM_1, "b": None}


def test_scans_and_defects_are_measured(engine: EngineThread, metrics: RecordedMetrics) -> None:
    source = FakeSource(a=1, b=2)
    source.failing_id = "a"
    engine.configure(source, {"maintenance": PeriodicTask(source.run_task)})
    with capture_logs():
        engine.notify()
        assert source.drained.wait(GUARD_TIMEOUT)
        engine.stop()
    samples = metrics.read()
    assert samples.sum("vmapi_engine_errors_total", task="reconcile") == 1
    assert samples.sum("vmapi_engine_leased_operations") == 0
    assert samples.sum("vmapi_engine_last_scan_timestamp_seconds") > 0
