"""The engine as a thread: scan for due operations, and call the periodic tasks."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol

import structlog

from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.errors import StoreUnavailable
from vmapi.services.periodic import PeriodicTask
from vmapi.services.reconciler.poller import DueOperation
from vmapi.telemetry.background_context import continuing
from vmapi.telemetry.metrics.catalog import (
    ENGINE_ERRORS,
    ENGINE_LEASED_OPERATIONS,
    ENGINE_RUNNING_OPERATIONS,
    ENGINE_SCAN_TIME_SECONDS,
)

log = structlog.get_logger("vmapi.engine")

ENGINE_TICK = 0.25
"""Seconds between two scans while there are unfinished operations."""

IDLE_SCAN_INTERVAL = 2.0
"""Seconds between two scans without one: for operations of processes that have died."""

ENGINE_THREADS = 4
"""Operations reconciled at a time: calls to the cloud in addition to those of requests."""


class OperationSource(Protocol):
    """The source of operations: `OperationService`."""

    def list_leased(self) -> Sequence[Operation]:
        """List the unfinished operations that this process leases."""
        ...

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        """List those of the operations that can be reconciled now."""
        ...

    def reconcile(self, operation: Operation, observed_vm: VM | None) -> Operation:
        """Reconcile an operation."""
        ...


class EngineThread:
    """Reconciles due operations in a pool of threads, and runs each periodic task in a thread.

    The threads start with the first `notify`: not before the server has forked, and not in a
    command that only reads. Setting `stopping` ends them.
    """

    def __init__(
        self, tick_seconds: float = ENGINE_TICK, stopping: threading.Event | None = None
    ) -> None:
        self._tick_seconds = tick_seconds
        self._notified = threading.Event()
        self._stopping = stopping or threading.Event()
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._in_flight: dict[str, Future[None]] = {}
        self._source: OperationSource | None = None
        self._periodic_tasks: Mapping[str, PeriodicTask] = {}

    def configure(
        self, source: OperationSource, periodic_tasks: Mapping[str, PeriodicTask]
    ) -> None:
        """Set the source of operations and the periodic tasks, by name."""
        self._source = source
        self._periodic_tasks = periodic_tasks

    @property
    def queued_count(self) -> int:
        """Zero: this process sends no messages."""
        return 0

    def notify(self, operation_id: str | None = None) -> None:
        """Scan now; start the threads that do not run, unless the engine has stopped."""
        with self._lock:
            if not self._stopping.is_set():
                self._start_thread("engine", self._run)
                for name, task in self._periodic_tasks.items():
                    self._start_thread(name, partial(self._run_task, name, task))
        self._notified.set()

    def stop(self) -> None:
        """Finish the operations in progress, and start no others."""
        with self._lock:
            self._stopping.set()
        self._notified.set()
        for thread in self._threads.values():
            thread.join()

    def _start_thread(self, name: str, run: Callable[[], None]) -> None:
        if name not in self._threads:
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads[name] = thread

    def _run(self) -> None:
        pool = ThreadPoolExecutor(ENGINE_THREADS, thread_name_prefix="engine")
        while not self._stopping.is_set():
            self._notified.clear()
            if self._scan(pool):
                self._stopping.wait(self._tick_seconds)
            else:
                self._notified.wait(IDLE_SCAN_INTERVAL)
        pool.shutdown(cancel_futures=True)

    def _scan(self, pool: ThreadPoolExecutor) -> bool:
        """Reconcile the due operations; return whether this process has unfinished ones."""
        if self._source is None:
            return False
        try:
            leased = self._source.list_leased()
            # an operation that hangs in a call to the cloud delays no other
            self._in_flight = {
                id: future for id, future in self._in_flight.items() if not future.done()
            }
            for due in self._source.list_due(leased):
                if due.operation.id not in self._in_flight:
                    self._in_flight[due.operation.id] = pool.submit(self._reconcile, due)
        except StoreUnavailable as error:
            log.debug("store unavailable, engine paused", reason=error.detail)
        except Exception:
            ENGINE_ERRORS.increment("scan")
            log.exception("engine tick failed")
        else:
            ENGINE_LEASED_OPERATIONS.set(len(leased))
            ENGINE_RUNNING_OPERATIONS.set(len(self._in_flight))
            ENGINE_SCAN_TIME_SECONDS.set(time.time())
            return bool(leased)
        return False

    def _reconcile(self, due: DueOperation) -> None:
        assert self._source is not None
        operation = due.operation
        with continuing(f"reconcile {operation.action}", operation):
            try:
                self._source.reconcile(operation, due.vm)
            except StoreUnavailable as error:
                log.debug("operation deferred", operation_id=operation.id, reason=error.detail)
            except Exception:
                ENGINE_ERRORS.increment("reconcile")
                log.exception("reconcile failed", operation_id=operation.id)

    def _run_task(self, name: str, task: PeriodicTask) -> None:
        if task.max_concurrent == 1:
            self._repeat(name, task, task.interval)
            return
        running: list[Future[None]] = []
        with ThreadPoolExecutor(task.max_concurrent, thread_name_prefix=name) as pool:

            def start_if_due() -> None:
                # calls that waited for a database that hangs would all run when it answers
                running[:] = [future for future in running if not future.done()]
                if len(running) < task.max_concurrent and task.is_due():
                    running.append(pool.submit(self._call, name, task.func))

            self._repeat(name, start_if_due, task.interval)

    def _repeat(self, name: str, func: Callable[[], object], interval: float) -> None:
        while not self._stopping.wait(interval):
            self._call(name, func)

    def _call(self, name: str, func: Callable[[], object]) -> None:
        try:
            func()
        except StoreUnavailable as error:
            log.debug("periodic task deferred", task=name, reason=error.detail)
        except Exception:
            ENGINE_ERRORS.increment(name)
            log.exception("periodic task failed", task=name)
