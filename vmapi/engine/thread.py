"""The engine as a thread of the serving process."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from vmapi.models.operation import Operation

log = structlog.get_logger("vmapi.engine")

TICK = 0.25
"""Seconds between two looks at what is unfinished."""

SLOWEST = 5.0
"""Seconds between two looks at one operation, at most: one that takes long is looked at less."""

PARALLEL = 4
"""How many operations are advanced at a time: what the cloud sees of us beside the requests."""


class Work(Protocol):
    """What the engine carries on: `vmapi.services.operations.Operations`."""

    def unfinished(self) -> Sequence[Operation]:
        """What is not over."""
        ...

    def advance(self, operation: Operation) -> Operation:
        """Carry one on."""
        ...


class EngineThread:
    """Advances unfinished operations until they are over. Starts with the first `wake`.

    So nothing runs before the server has forked, nor under a command that only looks.
    """

    def __init__(self, monotonic: Callable[[], float], tick: float = TICK) -> None:
        self._monotonic = monotonic
        self._tick = tick
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._work: Work | None = None
        self._seen: dict[str, tuple[float, float]] = {}

    def serve(self, work: Work) -> None:
        """Name what is to be carried on."""
        self._work = work

    def wake(self) -> None:
        """Say that there is something unfinished."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
                self._thread.start()
        self._awake.set()

    def stop(self) -> None:
        """Finish what is being advanced, and advance nothing more."""
        self._stopping.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="engine") as pool:
            while not self._stopping.is_set():
                self._awake.clear()
                unfinished = self._work.unfinished() if self._work else ()
                if not unfinished:
                    self._seen.clear()
                    self._awake.wait()
                    continue
                list(pool.map(self._advance, self._due(unfinished)))
                self._stopping.wait(self._tick)

    def _due(self, unfinished: Sequence[Operation]) -> list[Operation]:
        now = self._monotonic()
        due, seen = [], {}
        for operation in unfinished:
            first, next_look = self._seen.get(operation.id, (now, now))
            if next_look <= now:
                due.append(operation)
                next_look = now + min(SLOWEST, max(self._tick, (now - first) / 10))
            seen[operation.id] = (first, next_look)
        self._seen = seen
        return due

    def _advance(self, operation: Operation) -> None:
        assert self._work is not None
        with structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, user=operation.requested_by
        ):
            try:
                self._work.advance(operation)
            except Exception:
                log.exception("an operation could not be advanced", operation_id=operation.id)
