"""Worker processes: `flask --app wsgi worker`. Any number of them share the work by leases."""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from vmapi.engine.thread import EngineThread
from vmapi.services.operations.service import OperationService
from vmapi.services.periodic import PeriodicTask

log = structlog.get_logger("vmapi.engine")


def run_worker(operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask]) -> None:
    """Reconcile operations until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with _running_engine(operations, periodic_tasks):
        stopping.wait()


def run_celery_worker(
    operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask], broker_url: str
) -> None:
    """Reconcile operations until SIGTERM or SIGINT, and scan at once after a message."""
    from celery.signals import setup_logging

    from vmapi.engine.celery_notifier import NOTIFY_TASK_NAME, celery_app

    app = celery_app(broker_url)
    # Celery logs each message at level INFO
    logging.getLogger("celery").setLevel(logging.WARNING)
    # with a receiver of this signal Celery does not configure logging itself
    setup_logging.connect(_keep_logging_setup)
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
    yield engine
    engine.stop()
    log.info("worker stopped")


def _keep_logging_setup(**_: object) -> None:
    pass
