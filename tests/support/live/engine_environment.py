"""What vmapi runs on with each engine, and the service beside it that goes away and comes back."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.live.postgresql import Postgresql, postgresql
from tests.support.live.rabbitmq import Rabbitmq, rabbitmq

AWAY = 2.0
"""Seconds for which a service is away."""


@dataclass(frozen=True)
class Surroundings:
    """`workers` beside gunicorn; `restart` kills `service` and brings it back."""

    settings: dict[str, str]
    workers: int = 0
    service: str = ""
    restart: Callable[[], None] | None = None


@contextmanager
def _thread(place: Path) -> Iterator[Surroundings]:
    yield Surroundings({"VMAPI_DATABASE_URL": f"sqlite:///{place}/vmapi.sqlite3"})


@contextmanager
def _worker(place: Path) -> Iterator[Surroundings]:
    with postgresql() as server:
        settings = {"VMAPI_DATABASE_URL": server.url}
        yield Surroundings(settings, 2, "PostgreSQL", lambda: _restart(server))


@contextmanager
def _celery(place: Path) -> Iterator[Surroundings]:
    with postgresql() as server, rabbitmq() as broker:
        settings = {"VMAPI_DATABASE_URL": server.url, "VMAPI_BROKER_URL": broker.url}
        yield Surroundings(settings, 2, "RabbitMQ", lambda: _restart(broker))


ENGINES: dict[str, Callable[[Path], AbstractContextManager[Surroundings]]] = {
    "thread": _thread,
    "worker": _worker,
    "celery": _celery,
}


def _restart(server: Postgresql | Rabbitmq) -> None:
    server.kill()
    time.sleep(AWAY)
    server.start()
