"""The end of a worker process."""

from typing import Any

import pytest
from celery import Celery
from celery.apps import worker as celery_worker
from celery.signals import setup_logging

from tests.support.blocking_source import BlockingSource, live_thread_names
from vmapi.engine.worker import run_celery_worker


def test_engine_stops_when_celery_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    running = []

    def fail(*_: Any) -> None:
        running.extend(live_thread_names())
        raise OSError("no broker")

    monkeypatch.setattr(Celery, "worker_main", fail)
    monkeypatch.setattr(celery_worker, "safe_say", celery_worker.safe_say)
    monkeypatch.setattr(setup_logging, "receivers", [])
    with pytest.raises(OSError, match="no broker"):
        run_celery_worker(BlockingSource(), {}, "amqp://127.0.0.1:1")  # type: ignore[arg-type]
    assert "engine" in running
    assert "engine" not in live_thread_names()
