"""The addresses of a host within a limit of time.

The resolver of the system has no timeout, and Ctrl-C does not end it. So another thread waits.
"""

import socket
from concurrent.futures import Future
from threading import Thread
from typing import Any


def resolve_host(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the addresses of a host. Raises OSError, also if there are none in time."""
    future: Future[list[Any]] = Future()
    thread = Thread(target=_resolve, args=(future, host, port), daemon=True)
    thread.start()
    thread.join(timeout)
    if not future.done():
        raise OSError(f"the name {host} is not resolved in time")
    return [*dict.fromkeys(address[0] for *_, address in future.result())]


def _resolve(future: "Future[list[Any]]", host: str, port: int) -> None:
    try:
        future.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except Exception as error:
        future.set_exception(error)
