"""Worker processes: `flask --app wsgi worker`, as many as wanted; they share by leases."""

import logging
import os
import signal
import threading
from collections.abc import Mapping

import structlog

from vmapi.engine.thread import EngineThread
from vmapi.services.operations.service import Operations
from vmapi.services.periodic import Chore

log = structlog.get_logger("vmapi.engine")


def run(operations: Operations, chores: Mapping[str, Chore]) -> None:
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


def run_celery(operations: Operations, chores: Mapping[str, Chore], broker_url: str) -> None:
    """Do the same, and look at once when a message comes."""
    from celery.signals import setup_logging

    from vmapi.engine.celery_notifier import TASK, celery_app

    app = celery_app(broker_url)
    engine = EngineThread()
    engine.serve(operations, chores)

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def wake(operation_id: str) -> None:
        engine.wake(operation_id)

    # it would tell of each message
    logging.getLogger("celery").setLevel(logging.WARNING)
    # as long as somebody is told that logging is to be set up, Celery leaves ours alone
    setup_logging.connect(_keep_logging)
    engine.wake()
    name = f"--hostname=vmapi-{os.getpid()}@%h"
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    log.info("worker ready")
    app.worker_main(["--quiet", "worker", name, *alone, "--pool=solo"])
    engine.stop()
    log.info("worker stopped")


def _keep_logging(**_: object) -> None:
    pass
