"""The connection of a client that reads a stream."""

import select
import socket
from contextlib import suppress
from typing import Any

WRITE_TIMEOUT_SECONDS = 30.0
"""A client that reads nothing for this long is disconnected."""

MAX_UNSENT_KERNEL_BYTES = 128 * 1024
"""Bytes of a stream that the kernel holds besides those that the client has not acknowledged."""

HANGUP_EVENTS = select.POLLHUP | select.POLLERR | select.POLLNVAL | select.POLLRDHUP


def limit_unread_bytes(connection: socket.socket, seconds: float | None = None) -> None:
    """Let the kernel end a TCP connection without acknowledgements for some seconds (tcp(7)).

    Without these limits, the kernel holds megabytes, and notices a client that vanished without an
    end of its connection after a quarter of an hour. Linux has them.
    """
    if connection.family == socket.AF_UNIX or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    milliseconds = int((seconds or WRITE_TIMEOUT_SECONDS) * 1000)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_KERNEL_BYTES)


class ClientConnection:
    """The socket that gunicorn exposes in the WSGI environment (PEP 3333).

    Other servers expose none: there, a client counts as connected until a write fails.
    """

    def __init__(
        self, environ: dict[str, Any], *, write_timeout: float = WRITE_TIMEOUT_SECONDS
    ) -> None:
        self._write_timeout = write_timeout
        self._socket: Any = environ.get("gunicorn.socket")
        if self._socket is not None:
            limit_unread_bytes(self._socket, write_timeout)

    def is_connected(self) -> bool:
        """Return whether the client has not hung up."""
        return not self._poll_socket(select.POLLRDHUP, 0) & HANGUP_EVENTS

    def wait_writable(self) -> bool:
        """Wait until the kernel accepts bytes; return False if the client hung up or timed out.

        The time limit begins again when the client reads. A timeout ends the connection: the
        client would get the end of the stream without its rest.
        """
        if self._socket is None:
            return True
        events = self._poll_socket(select.POLLOUT | select.POLLRDHUP, self._write_timeout)
        if not events:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        return bool(events & select.POLLOUT) and not events & HANGUP_EVENTS

    def _poll_socket(self, events: int, timeout: float) -> int:
        if self._socket is None:
            return 0
        poll = select.poll()
        poll.register(self._socket, events)
        ready = poll.poll(timeout * 1000)
        return ready[0][1] if ready else 0
