"""The seconds that a thread waits for an answer of the database, or for its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from vmapi.concurrency.bulkhead import is_request_thread

REQUEST_ANSWER_TIMEOUT = 6.0
"""Seconds that a request waits: longer than the wait for a lock."""

BACKGROUND_ANSWER_TIMEOUT = 60.0
"""Seconds that a background thread or a command waits: a purge may take longer than a request."""

_override: ContextVar[float | None] = ContextVar("vmapi_answer_timeout")


@contextmanager
def answer_timeout(seconds: float | None) -> Iterator[None]:
    """Replace the timeout of this thread during a `with` block; None is no limit."""
    token = _override.set(seconds)
    try:
        yield
    finally:
        _override.reset(token)


def current_answer_timeout() -> float | None:
    """Return the timeout of this thread in seconds; None for no limit."""
    default = REQUEST_ANSWER_TIMEOUT if is_request_thread() else BACKGROUND_ANSWER_TIMEOUT
    return _override.get(default)
