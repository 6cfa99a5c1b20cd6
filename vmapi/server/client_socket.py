"""The socket of a client: a write never waits for the client."""

import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

MAX_SENT_VIEWS = 100
"""Buffers that one system call sends: fewer than IOV_MAX (writev(2))."""


class ClientSocket(socket.socket):
    """A socket that buffers the bytes that the kernel does not accept.

    The thread that writes a response is free at once. `flush` sends the rest. `last_sent_at` is the
    monotonic time, in seconds, of the last byte that the kernel accepted. While `is_corked`, only
    `flush` sends.
    """

    accepts_detached_body = True
    """The worker of this socket takes over response bodies: see `accepts_detached_body`."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.last_sent_at = time.monotonic()
        self.is_corked = False

    def setblocking(self, flag: bool) -> None:
        """Do nothing: each call of this class says that it must not wait."""

    def settimeout(self, value: float | None) -> None:
        """Let no call wait: gunicorn drains the socket of a response that has failed."""
        super().settimeout(0)

    @contextmanager
    def corked(self) -> Iterator[None]:
        """Send the bytes of a block at its end, by one system call. A block that fails sends none.

        So SIGKILL does not end a process between the head and the body of a response.
        """
        self.is_corked, count = True, len(self._unsent)
        try:
            yield
        except BaseException:
            while len(self._unsent) > count:
                self.unsent_bytes -= len(self._unsent.pop())
            raise
        finally:
            self.is_corked = False
        self.flush()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send as many bytes as the kernel accepts; `flush` sends the rest. Raises OSError."""
        self._unsent.append(memoryview(data))
        self.unsent_bytes += len(data)
        if not self.is_corked:
            self.flush()

    def flush(self) -> bool:
        """Send the remaining bytes; return whether all are sent. Raises OSError."""
        while self._unsent:
            views = list(islice(self._unsent, MAX_SENT_VIEWS))
            try:
                count = self.sendmsg(views, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self.last_sent_at = time.monotonic()
            self._drop_sent(count)
        return True

    def _drop_sent(self, count: int) -> None:
        self.unsent_bytes -= count
        while self._unsent and count >= len(self._unsent[0]):
            count -= len(self._unsent.popleft())
        if count:
            self._unsent[0] = self._unsent[0][count:]
