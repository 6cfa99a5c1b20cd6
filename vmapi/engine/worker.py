"""Worker processes: `flask --app wsgi worker`, as many as wanted; they share by leases."""

import os
import signal
import threading
from collections.abc import Callable

import structlog

from vmapi.engine.thread import PARALLEL, EngineThread
from vmapi.errors import OperationNotFound
from vmapi.services.operations import Operations
from vmapi.services.poll import Ready

log = structlog.get_logger("vmapi.engine")

MESSAGE_TICK = 1.0
"""Seconds between two rounds of messages: those that are not yet served stand in the queue."""


def run(operations: Operations, chores: Callable[[], None]) -> None:
    """Carry operations on until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine = EngineThread()
    engine.serve(operations, chores)
    engine.wake()
    log.info("worker ready")
    stopping.wait()
    engine.stop()
    log.info("worker stopped")


def run_celery(operations: Operations, chores: Callable[[], None], broker_url: str) -> None:
    """Carry operations on as messages ask for it, and sweep for what none asks for."""
    from vmapi.engine.messages import TASK, celery_app, ring

    app = celery_app(broker_url)

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def advance(operation_id: str) -> None:
        try:
            operations.advance(operations.get(operation_id))
        except OperationNotFound:
            log.warning("a message about nothing", operation_id=operation_id)

    class Sweep(EngineThread):
        """Rings for what is ready; carries it on itself while the broker is away."""

        def _advance(self, ready: Ready) -> None:
            if not ring(app, ready.operation.id):
                super()._advance(ready)

    sweep = Sweep(MESSAGE_TICK)
    sweep.serve(operations, chores)
    sweep.wake()
    name = f"--hostname=vmapi-{os.getpid()}@%h"
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    threads = ("--pool=threads", f"--concurrency={PARALLEL}")
    log.info("worker ready")
    app.worker_main(["--quiet", "worker", name, *alone, *threads, "--loglevel=WARNING"])
    sweep.stop()
