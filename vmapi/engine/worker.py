"""Worker processes: `vmapi worker`. Any number of them share the work by leases."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from vmapi.engine.thread import EngineThread
from vmapi.services.operations.service import OperationService
from vmapi.services.periodic import PeriodicTask

log = structlog.get_logger("vmapi.engine")


def run_worker(operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask]) -> None:
    """Reconcile operations until SIGTERM or SIGINT."""
    signaled, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    # a handler that sets an event could wait for a lock of the thread that it interrupts
    signal.set_wakeup_fd(wakeup.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with _running_engine(operations, periodic_tasks):
        signaled.recv(1)


def run_celery_worker(
    operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask], broker_url: str
) -> None:
    """Reconcile operations until SIGTERM or SIGINT, and scan at once after a message."""
    from celery.apps import worker as celery_worker
    from celery.signals import setup_logging

    from vmapi.engine.celery_notifier import NOTIFY_TASK_NAME, celery_app

    app = celery_app(broker_url)
    # Celery logs each message at level INFO
    logging.getLogger("celery").setLevel(logging.WARNING)
    # with a receiver of this signal Celery does not configure logging itself
    setup_logging.connect(_keep_logging_setup)
    # Celery writes the texts of its signal handlers to stdout, next to the log
    celery_worker.safe_say = _log_celery_text
    name = f"--hostname=vmapi-{os.getpid()}@%h"
    standalone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    with _running_engine(operations, periodic_tasks) as engine:

        @app.task(name=NOTIFY_TASK_NAME)  # type: ignore[untyped-decorator]
        def notify(operation_id: str) -> None:
            engine.notify(operation_id)

        app.worker_main(["--quiet", "worker", name, *standalone, "--pool=solo"])


@contextmanager
def _running_engine(
    operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask]
) -> Iterator[EngineThread]:
    """Run the engine while the block lasts."""
    engine = EngineThread()
    engine.configure(operations, periodic_tasks)
    engine.notify()
    log.info("worker ready")
    try:
        yield engine
    finally:
        engine.stop()
        log.info("worker stopped")


def _log_celery_text(text: str, *_: object) -> None:
    log.info("Celery message", reason=text.strip())


def _keep_logging_setup(**_: object) -> None:
    pass
