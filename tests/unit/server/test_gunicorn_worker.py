"""The gunicorn worker: the cases that an e2e test cannot cover."""

import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from vmapi.server.worker import GunicornWorker


def test_quit_does_not_wait_for_the_lock_of_the_thread_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    worker: Any = GunicornWorker.__new__(GunicornWorker)
    worker.cfg = SimpleNamespace(worker_int=lambda _: None)
    worker.tpool = ThreadPoolExecutor(1)
    # the main thread holds this lock while it submits a request
    with ThreadPoolExecutor(1) as signalled, worker.tpool._shutdown_lock:
        handled = signalled.submit(worker.handle_quit, signal.SIGQUIT, None)
        with pytest.raises(SystemExit):
            handled.result(timeout=10)
    assert worker.alive is False
