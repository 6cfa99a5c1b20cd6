"""The engine as a thread of the serving process."""

import threading
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

log = structlog.get_logger("vmapi.engine")

ENGINE_TICK = 0.25
"""Seconds between two looks at what is unfinished."""

IDLE_SCAN_INTERVAL = 2.0
"""Seconds between two looks for operations whose process has died."""

ENGINE_THREADS = 4
"""How many operations are advanced at a time: what the cloud sees of us beside the requests."""


class OperationSource(Protocol):
    """What the engine carries on: `vmapi.services.operations.Operations`."""

    def list_leased(self) -> Sequence[Operation]:
        """List the unfinished operations that this process leases."""
        ...

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        """List those of the operations that can be reconciled now."""
        ...

    def reconcile(self, operation: Operation, snapshot: VM | None) -> Operation:
        """Reconcile an operation."""
        ...


class EngineThread:
    """Advances unfinished operations until they are over, and does the chores. Starts with `wake`.

    So nothing runs before the server has forked, nor under a command that only looks.
    """

    def __init__(self, tick_seconds: float = ENGINE_TICK) -> None:
        self._tick_seconds = tick_seconds
        self._notified = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._in_flight: dict[str, Future[None]] = {}
        self._source: OperationSource | None = None
        self._periodic_tasks: Mapping[str, PeriodicTask] = {}

    def configure(
        self, source: OperationSource, periodic_tasks: Mapping[str, PeriodicTask]
    ) -> None:
        """Name what is to be carried on, and what is to be done beside it, each by itself."""
        self._source = source
        self._periodic_tasks = periodic_tasks

    def notify(self, operation_id: str | None = None) -> None:
        """Say that there is something unfinished."""
        with self._lock:
            if not self._threads and not self._stopping.is_set():
                self._start_thread("engine", self._run)
                for name, chore in self._periodic_tasks.items():
                    self._start_thread(name, partial(self._run_task, name, chore))
        self._notified.set()

    def stop(self) -> None:
        """Finish what is being advanced, and advance nothing more."""
        with self._lock:
            self._stopping.set()
        self._notified.set()
        for thread in self._threads:
            thread.join()

    def _start_thread(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

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
        if self._source is None:
            return False
        try:
            mine = self._source.list_leased()
            # one that hangs in a call to the cloud holds up no other
            self._in_flight = {id: one for id, one in self._in_flight.items() if not one.done()}
            for ready in self._source.list_due(mine):
                if ready.operation.id not in self._in_flight:
                    self._in_flight[ready.operation.id] = pool.submit(self._reconcile, ready)
        except StoreUnavailable as away:
            log.warning("nothing can be advanced", reason=away.detail)
        except Exception:
            log.exception("the engine stumbled")
        else:
            return bool(mine)
        return False

    def _reconcile(self, due: DueOperation) -> None:
        assert self._source is not None
        operation = due.operation
        with structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, user=operation.requested_by
        ):
            try:
                self._source.reconcile(operation, due.vm)
            except StoreUnavailable as away:
                log.warning(
                    "an operation has to wait", operation_id=operation.id, reason=away.detail
                )
            except Exception:
                log.exception("an operation could not be advanced", operation_id=operation.id)

    def _run_task(self, name: str, task: PeriodicTask) -> None:
        if task.max_concurrent == 1:
            self._repeat(name, task, task.interval)
            return
        with ThreadPoolExecutor(task.max_concurrent, thread_name_prefix=name) as pool:

            def start_if_due() -> None:
                if task.is_due():
                    pool.submit(self._call, name, task.func)

            self._repeat(name, start_if_due, task.interval)

    def _repeat(self, name: str, func: Callable[[], object], interval: float) -> None:
        while not self._stopping.wait(interval):
            self._call(name, func)

    def _call(self, name: str, func: Callable[[], object]) -> None:
        try:
            func()
        except StoreUnavailable as error:
            log.warning("periodic task deferred", task=name, reason=error.detail)
        except Exception:
            log.exception("periodic task failed", task=name)
