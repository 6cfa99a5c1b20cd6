"""Worker processes: `flask --app wsgi worker`, as many as wanted; they share by leases."""

import logging
import os
import signal
import threading
from collections.abc import Mapping

import structlog

from vmapi.engine.thread import EngineThread
from vmapi.services.operations.service import OperationService
from vmapi.services.periodic import PeriodicTask

log = structlog.get_logger("vmapi.engine")


def run_worker(operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask]) -> None:
    """Carry operations on until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine = EngineThread()
    engine.configure(operations, periodic_tasks)
    engine.notify()
    log.info("worker ready")
    stopping.wait()
    engine.stop()
    log.info("worker stopped")


def run_celery_worker(
    operations: OperationService, periodic_tasks: Mapping[str, PeriodicTask], broker_url: str
) -> None:
    """Do the same, and look at once when a message comes."""
    from celery.signals import setup_logging

    from vmapi.engine.celery_notifier import NOTIFY_TASK_NAME, celery_app

    app = celery_app(broker_url)
    engine = EngineThread()
    engine.configure(operations, periodic_tasks)

    @app.task(name=NOTIFY_TASK_NAME)  # type: ignore[untyped-decorator]
    def wake(operation_id: str) -> None:
        engine.notify(operation_id)

    # it would tell of each message
    logging.getLogger("celery").setLevel(logging.WARNING)
    # as long as somebody is told that logging is to be set up, Celery leaves ours alone
    setup_logging.connect(_keep_logging_setup)
    engine.notify()
    name = f"--hostname=vmapi-{os.getpid()}@%h"
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    log.info("worker ready")
    app.worker_main(["--quiet", "worker", name, *alone, "--pool=solo"])
    engine.stop()
    log.info("worker stopped")


def _keep_logging_setup(**_: object) -> None:
    pass
