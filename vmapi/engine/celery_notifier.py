"""Celery as a bell: a message wakes a worker, the rows decide what it does then.

So a message that is lost, late or doubled does no harm: workers also sweep.
"""

import threading
from contextlib import suppress
from queue import Full, Queue
from typing import Any

import structlog
from celery import Celery

log = structlog.get_logger("vmapi.engine")

NOTIFY_TASK_NAME = "vmapi.wake"
MESSAGE_TTL = 30
"""Seconds after which a message is no longer worth delivering: a sweep was there before it."""
NOTIFY_QUEUE_SIZE = 100
"""How many messages may wait for the broker: any of them wakes a worker, and it looks at all."""
BROKER_TIMEOUT = 2.0
"""Seconds that the broker may take for an answer, and that a stop waits for what is being sent."""


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
        broker_connection_timeout=BROKER_TIMEOUT,
    )
    return app


class CeleryNotifier:
    """Rings for the workers, from a process that serves; a thread does, so that no request waits.

    It starts with the first message: nothing runs before the server has forked.
    """

    def __init__(self, broker_url: str) -> None:
        self._app = celery_app(broker_url)
        # a broker that is short of memory, or stands still, takes messages on and says nothing
        bounds = {"read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT, "max_retries": 0}
        self._app.conf.broker_transport_options = {"confirm_publish": True, **bounds}
        self._queue: Queue[str | None] = Queue(NOTIFY_QUEUE_SIZE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._unavailable = False

    def notify(self, operation_id: str | None = None) -> None:
        """Have a message sent; where that cannot be, the workers' sweep has to do."""
        if operation_id is None:
            return
        # no thread can be started, or the broker is too slow
        with suppress(RuntimeError, Full):
            self._start()
            self._queue.put_nowait(operation_id)

    def stop(self) -> None:
        """Send what waits, unless that takes long, and close the connection to the broker."""
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
                thread = threading.Thread(target=self._run, name="bell", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        connection = self._app.connection_for_write()
        while (operation_id := self._queue.get()) is not None:
            try:
                self._send(operation_id, connection)
            except Exception as error:
                self._on_failure(error)
                # what is left of it is of no use: a channel that was closed, an answer that is late
                _close(connection)
                connection = self._app.connection_for_write()
        _close(connection)

    def _send(self, operation_id: str, connection: Any) -> None:
        options = {"expires": MESSAGE_TTL, "retry": False, "connection": connection}
        self._app.send_task(NOTIFY_TASK_NAME, (operation_id,), **options)
        if self._unavailable:
            log.info("the broker takes messages again")
        self._unavailable = False

    def _on_failure(self, error: Exception) -> None:
        if not self._unavailable:
            # Celery says the same of all that a connection may suffer
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}".rstrip(": ")
            log.warning("the broker takes no messages; sweeps have to do", reason=reason)
        self._unavailable = True


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()
