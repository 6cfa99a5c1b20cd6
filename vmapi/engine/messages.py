"""Celery as a bell: a message wakes a worker, the rows decide what it does then.

So a message that is lost, late or doubled does no harm: workers also sweep.
"""

from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

log = structlog.get_logger("vmapi.engine")

TASK = "vmapi.wake"
STALE = 30
"""Seconds after which a message is no longer worth delivering: a sweep was there before it."""
PUBLISH = {"max_retries": 0}


def celery_app(broker_url: str) -> Celery:
    """Return the Celery application that both sides of the queue use."""
    app = Celery("vmapi", broker=broker_url)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue="vmapi",
        # after a lost connection its threads would wait for the broker where the loop reads
        worker_enable_prefetch_count_reduction=False,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=2,
        broker_transport_options={"confirm_publish": True},
    )
    return app


class Bell:
    """Rings for the workers, from a process that serves."""

    def __init__(self, broker_url: str) -> None:
        self._app = celery_app(broker_url)

    def wake(self, operation_id: str | None = None) -> None:
        """Send a message; without a broker the workers' sweep has to do."""
        if operation_id is None:
            return
        options: dict[str, Any] = {"expires": STALE, "retry": False, "retry_policy": PUBLISH}
        try:
            self._app.send_task(TASK, (operation_id,), **options)
        except (OperationalError, OSError):
            log.warning("the broker is away; a sweep will find it", operation_id=operation_id)

    def stop(self) -> None:
        """Close the connections to the broker."""
        self._app.close()
