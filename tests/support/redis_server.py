"""A Redis server on loopback for one test, without persistence."""

import socket
from pathlib import Path

from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.processes import ServerProcess, require_program

SECRET = "hunter2"


class RedisServer(ServerProcess):
    """A Redis with a password."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "redis")
        self.program = require_program("redis-server", "redis")
        self.url = f"redis://:{SECRET}@127.0.0.1:{self.port}/0"

    def start(self) -> "RedisServer":
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        ready_count = self._count_ready()
        self.spawn(self.program, *options, "--requirepass", SECRET)
        wait_until("Redis", lambda: self._count_ready() > ready_count)
        return self

    def flush(self) -> None:
        """Delete all keys."""
        with socket.create_connection(("127.0.0.1", self.port), WAIT_SECONDS) as connection:
            connection.sendall(f"AUTH {SECRET}\r\nFLUSHALL\r\nQUIT\r\n".encode())
            replies = b"".join(iter(lambda: connection.recv(1024), b""))
        assert replies == b"+OK\r\n" * 3, replies

    def _count_ready(self) -> int:
        return self.read_log().count("Ready to accept connections") if self.log.exists() else 0
