"""One end for all that a driver call sends: logins, discovery and second tries included."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from threading import Lock
from time import monotonic

_deadline: ContextVar[float] = ContextVar("vmapi_openstack_deadline", default=inf)


@contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """End whatever this thread sends inside after so many seconds; an outer end stands."""
    token = _deadline.set(min(_deadline.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining() -> float:
    """Return the seconds that are left; infinite where no end is set."""
    return _deadline.get() - monotonic()


@contextmanager
def acquire_in_time(lock: Lock) -> Iterator[None]:
    """Hold a lock. Raises TimeoutError when it is not free in time."""
    seconds = remaining()
    if not lock.acquire(timeout=-1 if seconds == inf else max(0, seconds)):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()
