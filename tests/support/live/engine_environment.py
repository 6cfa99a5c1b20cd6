"""The environment of each engine: settings, workers, and a service that can be restarted."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.live.postgresql import PostgresqlServer, serve_postgresql
from tests.support.live.rabbitmq import RabbitmqServer, serve_rabbitmq

RESTART_PAUSE = 2.0
"""Seconds between the kill and the start of a service."""


@dataclass(frozen=True)
class EngineEnvironment:
    """The settings and the number of workers; `restart` kills and starts `service`."""

    settings: dict[str, str]
    workers: int = 0
    service: str = ""
    restart: Callable[[], None] | None = None


@contextmanager
def _thread(folder: Path) -> Iterator[EngineEnvironment]:
    yield EngineEnvironment({"VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3"})


@contextmanager
def _worker(folder: Path) -> Iterator[EngineEnvironment]:
    with serve_postgresql() as server:
        settings = {"VMAPI_DATABASE_URL": server.url}
        yield EngineEnvironment(settings, 2, "PostgreSQL", lambda: _restart(server))


@contextmanager
def _celery(folder: Path) -> Iterator[EngineEnvironment]:
    with serve_postgresql() as server, serve_rabbitmq() as broker:
        settings = {"VMAPI_DATABASE_URL": server.url, "VMAPI_BROKER_URL": broker.url}
        yield EngineEnvironment(settings, 2, "RabbitMQ", lambda: _restart(broker))


ENGINES: dict[str, Callable[[Path], AbstractContextManager[EngineEnvironment]]] = {
    "thread": _thread,
    "worker": _worker,
    "celery": _celery,
}


def _restart(server: PostgresqlServer | RabbitmqServer) -> None:
    server.kill()
    time.sleep(RESTART_PAUSE)
    server.start()
