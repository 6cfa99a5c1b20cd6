"""One deadline per driver call, for its requests, logins and retries.

The driver and the session set the deadline of the current thread with `timeout`. `DeadlineAdapter`
enforces it for every request that the SDK sends, whatever timeout the SDK passes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

import requests
from keystoneauth1.session import TCPKeepAliveAdapter

CONNECT_TIMEOUT = 3.0
"""Seconds to establish a TCP connection: a host that is up accepts at once."""

_deadline: ContextVar[float] = ContextVar("vmapi_openstack_deadline", default=inf)


@contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """Set the deadline of this thread for a `with` block.

    An earlier deadline of an outer block stays in force.
    """
    token = _deadline.set(min(_deadline.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining() -> float:
    """Return the seconds until the deadline; infinite without a deadline."""
    return _deadline.get() - monotonic()


@contextmanager
def acquire_in_time(lock: Lock) -> Iterator[None]:
    """Hold a lock for a `with` block. Raises TimeoutError at the deadline."""
    seconds = remaining()
    if not lock.acquire(timeout=-1 if seconds == inf else max(0, seconds)):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()


class DeadlineAdapter(TCPKeepAliveAdapter):
    """An HTTP adapter that gives each request the time until the deadline."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Send a request. Raises `requests` errors; ConnectTimeout after the deadline."""
        seconds = remaining()
        if seconds <= 0:
            raise requests.ConnectTimeout("the deadline has passed", request=request)
        kwargs["timeout"] = (min(CONNECT_TIMEOUT, seconds), seconds)
        return super().send(request, *args, **kwargs)
