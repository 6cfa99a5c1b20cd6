"""Serve a request in a thread that must not wait, and again in one that may wait.

The poller thread of the worker serves most reads: handing a request to another thread costs more
than a read of cached data. A step that would wait raises `WouldBlock` there, and the worker serves
the request again in a request thread.

Invariant: before a request may raise `WouldBlock`, it changes nothing, except by `run_once`.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import Lock
from typing import Any, TypeVar, cast

T = TypeVar("T")


class WouldBlock(BaseException):
    """The request has to wait, in a thread that must not wait.

    Like KeyboardInterrupt, it is no Exception: error handlers must not respond to it.
    """


class RepeatableRequest:
    """A request that may be served twice.

    `batch` is the same object for requests that had all arrived before the first was served.
    """

    def __init__(self, batch: object = None) -> None:
        self.batch = batch
        self.may_wait = False
        self.results: dict[Hashable, Any] = {}

    def serve_without_waiting(self, serve: Callable[[], T]) -> T:
        """Serve the request. Raises WouldBlock before the first wait."""
        return self._run(serve, may_wait=False)

    def serve_again(self, serve: Callable[[], T]) -> T:
        """Serve the request in a thread that may wait."""
        return self._run(serve, may_wait=True)

    def _run(self, serve: Callable[[], T], *, may_wait: bool) -> T:
        def run() -> T:
            _current_request.set(self)
            return serve()

        self.may_wait = may_wait
        # the context variables of a request end with it
        return copy_context().run(run)


_current_request: ContextVar[RepeatableRequest | None] = ContextVar("vmapi_request", default=None)


def is_nonblocking() -> bool:
    """Return whether this thread must not wait."""
    request = _current_request.get()
    return request is not None and not request.may_wait


def raise_if_nonblocking() -> None:
    """Raise WouldBlock if this thread must not wait. Call it before each wait."""
    if is_nonblocking():
        raise WouldBlock


def current_batch() -> object:
    """Return the batch of the request, in a thread that must not wait; else None.

    A request that may wait may also have changed what another one has read.
    """
    request = _current_request.get()
    return None if request is None or request.may_wait else request.batch


@contextmanager
def holding(lock: Lock) -> Iterator[None]:
    """Hold a lock. Raises WouldBlock in a thread that must not wait for it."""
    if not lock.acquire(blocking=False):
        raise_if_nonblocking()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_once(key: Hashable, func: Callable[[], T]) -> T:
    """Return the result of a step that a second run of the request must not repeat."""
    request = _current_request.get()
    if request is None:
        return func()
    if key not in request.results:
        request.results[key] = func()
    return cast(T, request.results[key])
