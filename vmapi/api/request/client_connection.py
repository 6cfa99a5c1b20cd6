"""The connection of a client that is sent an answer for as long as it is there."""

import select
from typing import Any

PATIENCE = 30.0
"""Seconds after which a client that reads nothing is given up."""

GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL | select.POLLRDHUP


class Connection:
    """As gunicorn shows it; under another server a client is there until a write fails.

    `environ` is that of the request (PEP 3333).
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self._socket = environ.get("gunicorn.socket")
        if self._socket is not None:
            self._socket.settimeout(PATIENCE)

    def is_there(self) -> bool:
        """Tell whether the client has not hung up."""
        return not self._events(select.POLLRDHUP, 0) & GONE

    def reads(self) -> bool:
        """Wait until more can be sent; False for a client that is gone, or reads nothing."""
        if self._socket is None:
            return True
        found = self._events(select.POLLOUT | select.POLLRDHUP, PATIENCE)
        return bool(found & select.POLLOUT) and not found & GONE

    def _events(self, wanted: int, seconds: float) -> int:
        if self._socket is None:
            return 0
        poll = select.poll()
        poll.register(self._socket, wanted)
        found = poll.poll(seconds * 1000)
        return found[0][1] if found else 0
