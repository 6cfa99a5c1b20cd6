"""The engine as a thread of the serving process."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from vmapi.errors import StoreUnavailable
from vmapi.models.operation import Operation
from vmapi.models.vm import VM
from vmapi.services.poll import Ready

log = structlog.get_logger("vmapi.engine")

TICK = 0.25
"""Seconds between two looks at what is unfinished."""

SWEEP = 2.0
"""Seconds between two looks for operations whose process has died."""

PARALLEL = 4
"""How many operations are advanced at a time: what the cloud sees of us beside the requests."""


class Work(Protocol):
    """What the engine carries on: `vmapi.services.operations.Operations`."""

    def mine(self) -> Sequence[Operation]:
        """What this process is to carry on."""
        ...

    def ready(self) -> Sequence[Ready]:
        """What of it can be carried on now."""
        ...

    def advance(self, operation: Operation, seen: VM | None) -> Operation:
        """Carry one on."""
        ...


class EngineThread:
    """Advances unfinished operations until they are over. Starts with the first `wake`.

    So nothing runs before the server has forked, nor under a command that only looks.
    """

    def __init__(self, tick: float = TICK) -> None:
        self._tick = tick
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._work: Work | None = None

    def serve(self, work: Work) -> None:
        """Name what is to be carried on."""
        self._work = work

    def wake(self, operation_id: str | None = None) -> None:
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
                if self._round(pool):
                    self._stopping.wait(self._tick)
                else:
                    self._awake.wait(SWEEP)

    def _round(self, pool: ThreadPoolExecutor) -> bool:
        if self._work is None:
            return False
        try:
            list(pool.map(self._advance, self._work.ready()))
            return bool(self._work.mine())
        except StoreUnavailable as away:
            log.warning("nothing can be advanced", reason=away.detail)
        except Exception:
            log.exception("the engine stumbled")
        return False

    def _advance(self, ready: Ready) -> None:
        assert self._work is not None
        operation = ready.operation
        with structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, user=operation.requested_by
        ):
            try:
                self._work.advance(operation, ready.vm)
            except Exception:
                log.exception("an operation could not be advanced", operation_id=operation.id)
