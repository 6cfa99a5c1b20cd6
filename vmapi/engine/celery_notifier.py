"""Notify the workers through Celery: a message makes one of them scan the database.

A message names no work: the worker reconciles whatever rows are due. Idle scans of the workers
cover lost messages.
"""

import threading
from contextlib import suppress
from queue import Full, Queue
from typing import Any

import structlog
from celery import Celery

from vmapi.telemetry.metrics.catalog import CELERY_NOTIFICATIONS

log = structlog.get_logger("vmapi.engine")

NOTIFY_TASK_NAME = "vmapi.wake"
MESSAGE_TTL = 30
"""Seconds until a message expires. The idle scan is far shorter."""
NOTIFY_QUEUE_SIZE = 100
"""Messages queued for the broker. Dropping is safe: any message makes a worker scan all rows."""
BROKER_TIMEOUT = 2.0
"""Seconds for a response of the broker, and for `stop` to send the queue."""


def celery_app(broker_url: str) -> Celery:
    """Build the Celery application of senders and workers."""
    app = Celery("vmapi", broker=broker_url)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue="vmapi",
        # otherwise its threads wait for the broker in the read loop after a lost connection
        worker_enable_prefetch_count_reduction=False,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=BROKER_TIMEOUT,
    )
    return app


class CeleryNotifier:
    """Sends messages in a thread of a serving process, so that no request waits for the broker.

    The thread starts with the first message: not before the server has forked.
    """

    def __init__(self, broker_url: str) -> None:
        self._app = celery_app(broker_url)
        # a broker that is short of memory or blocked accepts messages without a confirmation
        bounds = {"read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT, "max_retries": 0}
        self._app.conf.broker_transport_options = {"confirm_publish": True, **bounds}
        self._queue: Queue[str | None] = Queue(NOTIFY_QUEUE_SIZE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._unavailable = False

    @property
    def queued_count(self) -> int:
        """The number of queued messages."""
        return self._queue.qsize()

    def notify(self, operation_id: str | None = None) -> None:
        """Queue a message; drop it while the broker is slow. None is no operation: do nothing."""
        if operation_id is None:
            return
        try:
            self._start()
            self._queue.put_nowait(operation_id)
        except (RuntimeError, Full):
            # no thread can be started, or the broker is slow
            CELERY_NOTIFICATIONS.increment("dropped")

    def stop(self) -> None:
        """Send the queue within `BROKER_TIMEOUT`, and close the connection to the broker."""
        with self._lock:
            self._stopping = True
        if self._thread is not None:
            with suppress(Full):
                self._queue.put_nowait(None)
            self._thread.join(BROKER_TIMEOUT)
        self._app.close()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopping:
                thread = threading.Thread(target=self._run, name="celery-notifier", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        connection = self._app.connection_for_write()
        while (operation_id := self._queue.get()) is not None:
            try:
                self._send(operation_id, connection)
                CELERY_NOTIFICATIONS.increment("sent")
            except Exception as error:
                CELERY_NOTIFICATIONS.increment("failed")
                self._on_failure(error)
                # the channel may be closed, or a late confirmation may belong to this message
                _close(connection)
                connection = self._app.connection_for_write()
        _close(connection)

    def _send(self, operation_id: str, connection: Any) -> None:
        options = {"expires": MESSAGE_TTL, "retry": False, "connection": connection}
        self._app.send_task(NOTIFY_TASK_NAME, (operation_id,), **options)
        if self._unavailable:
            log.info("broker available again")
        self._unavailable = False

    def _on_failure(self, error: Exception) -> None:
        if not self._unavailable:
            # Celery wraps each connection error in the same OperationalError
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}".rstrip(": ")
            log.warning("broker unavailable, falling back to polling", reason=reason)
        self._unavailable = True


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()
