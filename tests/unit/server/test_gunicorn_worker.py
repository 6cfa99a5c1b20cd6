"""The gunicorn worker: the cases that an e2e test cannot cover."""

import errno
import signal
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.sock import TCPSocket

from vmapi.server.logger import GunicornLogger
from vmapi.server.worker import GunicornWorker

OPEN_CONNECTIONS = 400


class RefusingListener:
    """A listener to which the system gives no connection."""

    def __init__(self, number: int) -> None:
        self._number = number

    def accept(self) -> None:
        raise OSError(self._number, "refused")


@pytest.fixture
def worker() -> Iterator[Any]:
    """A worker with a listener that does not run."""
    cfg = Config()
    cfg.set("bind", "127.0.0.1:0")
    cfg.set("threads", 20)
    cfg.set("worker_connections", 1000)
    log = GunicornLogger(cfg)
    listener = TCPSocket(("127.0.0.1", 0), cfg, log)
    worker: Any = GunicornWorker(0, 0, [listener], None, 60, cfg, log)
    worker.method_queue.init()
    yield worker
    worker.method_queue.close()
    listener.close()
    worker.tmp.close()


def fail_to_shut_down(wait: bool) -> None:
    raise AssertionError(f"may wait for the lock of the pool, {wait=}")


def test_quit_does_not_wait_for_the_lock_of_the_thread_pool(
    monkeypatch: pytest.MonkeyPatch, worker: Any
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    worker.tpool = SimpleNamespace(shutdown=fail_to_shut_down)
    with pytest.raises(SystemExit):
        worker.handle_quit(signal.SIGQUIT, None)
    assert worker.alive is False


@pytest.mark.parametrize("begins_accepting", [True, False])
def test_stop_before_the_worker_accepts_closes_the_listeners_once(
    worker: Any, begins_accepting: bool
) -> None:
    (listener,) = worker.sockets
    address = listener.getsockname()
    worker.handle_exit(signal.SIGTERM, None)
    # gunicorn begins to accept, then ends its loop
    worker.set_accept_enabled(begins_accepting)
    worker.set_accept_enabled(False)
    with socket.socket() as client:
        assert client.connect_ex(address) == errno.ECONNREFUSED


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_shortage_of_the_system_leaves_a_connection_for_each_thread(
    worker: Any, number: int
) -> None:
    worker.nr_conns = OPEN_CONNECTIONS
    for _ in range(25):
        assert worker.accept(RefusingListener(number)) is False
        worker.nr_conns = min(worker.nr_conns, worker.worker_connections)
    assert worker.worker_connections == 20
