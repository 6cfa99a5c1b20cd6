"""The worker process of gunicorn, where a server that runs cannot show it."""

import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from vmapi.server.worker import Worker


def test_quit_waits_for_no_lock_that_it_may_have_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    worker: Any = Worker.__new__(Worker)
    worker.cfg = SimpleNamespace(worker_int=lambda _: None)
    worker.tpool = ThreadPoolExecutor(1)
    # held as the main thread holds it while it hands a request on
    with ThreadPoolExecutor(1) as signalled, worker.tpool._shutdown_lock:
        handled = signalled.submit(worker.handle_quit, signal.SIGQUIT, None)
        with pytest.raises(SystemExit):
            handled.result(timeout=10)
    assert worker.alive is False
