"""One end for all that a driver call sends: logins, discovery and second tries included."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from threading import Lock
from time import monotonic

_end: ContextVar[float] = ContextVar("vmapi_openstack_deadline", default=inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End whatever this thread sends inside after so many seconds; an outer end stands."""
    token = _end.set(min(_end.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def left() -> float:
    """Return the seconds that are left; infinite where no end is set."""
    return _end.get() - monotonic()


@contextmanager
def holding(lock: Lock) -> Iterator[None]:
    """Hold a lock. Raises TimeoutError when it is not free in time."""
    remaining = left()
    if not lock.acquire(timeout=-1 if remaining == inf else max(0, remaining)):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()
