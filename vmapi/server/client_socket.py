"""The socket of a client: a write never waits for the client."""

import socket
import time
from collections import deque
from typing import Any


class ClientSocket(socket.socket):
    """A socket that buffers the bytes that the kernel does not accept.

    The thread that writes a response is free at once. `flush` sends the rest. `last_sent_at` is the
    monotonic time, in seconds, of the last byte that the kernel accepted.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.last_sent_at = time.monotonic()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send as many bytes as the kernel accepts; `flush` sends the rest. Raises OSError."""
        self._unsent.append(memoryview(data))
        self.unsent_bytes += len(data)
        self.flush()

    def flush(self) -> bool:
        """Send the remaining bytes; return whether all are sent. Raises OSError."""
        while self._unsent:
            view = self._unsent.popleft()
            try:
                count = self.send(view, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._unsent.appendleft(view)
                return False
            self.unsent_bytes -= count
            self.last_sent_at = time.monotonic()
            if count < len(view):
                self._unsent.appendleft(view[count:])
        return True
