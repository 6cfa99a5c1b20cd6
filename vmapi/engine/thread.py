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
from vmapi.services.periodic import Chore
from vmapi.services.reconciler.poller import Ready

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

    def ready(self, mine: Sequence[Operation]) -> Sequence[Ready]:
        """What of it can be carried on now."""
        ...

    def advance(self, operation: Operation, seen: VM | None) -> Operation:
        """Carry one on."""
        ...


class EngineThread:
    """Advances unfinished operations until they are over, and does the chores. Starts with `wake`.

    So nothing runs before the server has forked, nor under a command that only looks.
    """

    def __init__(self, tick: float = TICK) -> None:
        self._tick = tick
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._flying: dict[str, Future[None]] = {}
        self._work: Work | None = None
        self._chores: Mapping[str, Chore] = {}

    def serve(self, work: Work, chores: Mapping[str, Chore]) -> None:
        """Name what is to be carried on, and what is to be done beside it, each by itself."""
        self._work = work
        self._chores = chores

    def wake(self, operation_id: str | None = None) -> None:
        """Say that there is something unfinished."""
        with self._lock:
            if not self._threads and not self._stopping.is_set():
                self._start("engine", self._run)
                for name, chore in self._chores.items():
                    self._start(name, partial(self._keep_up, name, chore))
        self._awake.set()

    def stop(self) -> None:
        """Finish what is being advanced, and advance nothing more."""
        with self._lock:
            self._stopping.set()
        self._awake.set()
        for thread in self._threads:
            thread.join()

    def _start(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self) -> None:
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="engine")
        while not self._stopping.is_set():
            self._awake.clear()
            if self._round(pool):
                self._stopping.wait(self._tick)
            else:
                self._awake.wait(SWEEP)
        pool.shutdown(cancel_futures=True)

    def _round(self, pool: ThreadPoolExecutor) -> bool:
        if self._work is None:
            return False
        try:
            mine = self._work.mine()
            # one that hangs in a call to the cloud holds up no other
            self._flying = {id: one for id, one in self._flying.items() if not one.done()}
            for ready in self._work.ready(mine):
                if ready.operation.id not in self._flying:
                    self._flying[ready.operation.id] = pool.submit(self._advance, ready)
        except StoreUnavailable as away:
            log.warning("nothing can be advanced", reason=away.detail)
        except Exception:
            log.exception("the engine stumbled")
        else:
            return bool(mine)
        return False

    def _advance(self, ready: Ready) -> None:
        assert self._work is not None
        operation = ready.operation
        with structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, user=operation.requested_by
        ):
            try:
                self._work.advance(operation, ready.vm)
            except StoreUnavailable as away:
                log.warning(
                    "an operation has to wait", operation_id=operation.id, reason=away.detail
                )
            except Exception:
                log.exception("an operation could not be advanced", operation_id=operation.id)

    def _keep_up(self, name: str, chore: Chore) -> None:
        while not self._stopping.wait(chore.every):
            try:
                chore()
            except StoreUnavailable as away:
                log.warning(f"{name} has to wait", reason=away.detail)
            except Exception:
                log.exception(f"{name} stumbled")
