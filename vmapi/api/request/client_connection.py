"""The connection of a client that is sent an answer for as long as it is there."""

import select
from typing import Any

WRITE_TIMEOUT_SECONDS = 30.0
"""Seconds after which a client that reads nothing is given up."""

HANGUP_EVENTS = select.POLLHUP | select.POLLERR | select.POLLNVAL | select.POLLRDHUP


class ClientConnection:
    """As gunicorn shows it; under another server a client is there until a write fails.

    `environ` is that of the request (PEP 3333).
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self._socket = environ.get("gunicorn.socket")
        if self._socket is not None:
            self._socket.settimeout(WRITE_TIMEOUT_SECONDS)

    def is_connected(self) -> bool:
        """Tell whether the client has not hung up."""
        return not self._poll_socket(select.POLLRDHUP, 0) & HANGUP_EVENTS

    def wait_writable(self) -> bool:
        """Wait until more can be sent; False for a client that is gone, or reads nothing."""
        if self._socket is None:
            return True
        found = self._poll_socket(select.POLLOUT | select.POLLRDHUP, WRITE_TIMEOUT_SECONDS)
        return bool(found & select.POLLOUT) and not found & HANGUP_EVENTS

    def _poll_socket(self, wanted: int, seconds: float) -> int:
        if self._socket is None:
            return 0
        poll = select.poll()
        poll.register(self._socket, wanted)
        found = poll.poll(seconds * 1000)
        return found[0][1] if found else 0
