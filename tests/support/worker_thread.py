"""A gunicorn worker of vmapi that serves a WSGI app in a thread of the test."""

import os
import selectors
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from gunicorn.config import Config
from gunicorn.sock import TCPSocket

from vmapi.server.logger import GunicornLogger
from vmapi.server.worker import GunicornWorker


class WorkerThread:
    """A worker with one request thread. `stop` ends it as SIGTERM does."""

    def __init__(self, app: Any, connections: int) -> None:
        cfg = Config()
        cfg.set("bind", "127.0.0.1:0")
        cfg.set("worker_connections", connections)
        cfg.set("graceful_timeout", 5)
        log = GunicornLogger(cfg)
        self._listener = TCPSocket(("127.0.0.1", 0), cfg, log)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._worker: Any = GunicornWorker(0, os.getppid(), [self._listener], None, 60, cfg, log)
        self._worker.tpool = ThreadPoolExecutor(1, "request")
        self._worker.poller = selectors.DefaultSelector()
        self._worker.method_queue.init()
        self._worker.wsgi = app
        self._thread = threading.Thread(target=self._worker.run, name="poller")
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker gracefully, and wait for it."""
        if self._thread.is_alive():
            self._worker.alive = False
            # wakes the poller
            self._worker.method_queue.defer(int)
            self._thread.join()
            self._worker.tmp.close()


@contextmanager
def serve(app: Any, connections: int = 1000) -> Iterator[WorkerThread]:
    """Serve an app until the end of the context."""
    worker = WorkerThread(app, connections)
    try:
        yield worker
    finally:
        worker.stop()
