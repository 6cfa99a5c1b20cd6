"""Bound the request threads that wait for one dependency: a bulkhead.

The cloud, each list of its catalog, the database and Keystone have a bulkhead each. A dependency
that hangs occupies the slots of its bulkhead. Further requests that need it are refused, and all
other requests find a free thread.

A request waits for a slot while calls end: a busy dependency refuses no request. The requests that
wait for slots are counted together, for all bulkheads of the process: so several dependencies that
hang leave free threads too.

Only the threads that serve requests are bounded; `begin_request` marks them. Invariant: a
background thread is never refused and takes no slot.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from vmapi.concurrency.nonblocking import WouldBlock, is_nonblocking

STALL_SECONDS = 2.0
"""A bulkhead without a free slot, where no call has ended for this long, refuses requests."""

MAX_WAITING_REQUESTS = 24
"""Requests of the process that wait for a slot, in any bulkhead, until it stalls."""

CROWDED_STALL_SECONDS = 0.25
"""The stall time for requests beyond `MAX_WAITING_REQUESTS`: free threads are few then."""


@dataclass(frozen=True, slots=True)
class RequestSlots:
    """The slots of one request."""

    may_wait: bool
    """Whether the thread may wait; see `vmapi.concurrency.nonblocking`."""

    held: set["Bulkhead"] = field(default_factory=set)
    """The bulkheads in which the request has a slot."""

    admitted: set["Bulkhead"] = field(default_factory=set)
    """The bulkheads that always admit the request."""


class WaitingRequests:
    """The number of requests of the process that wait for a slot. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @contextmanager
    def counting(self) -> Iterator[bool]:
        """Count a request while it waits; yield whether too many others wait."""
        with self._lock:
            is_crowded = self._count >= MAX_WAITING_REQUESTS
            self._count += 1
        try:
            yield is_crowded
        finally:
            with self._lock:
                self._count -= 1


_waiting_requests = WaitingRequests()
_request_slots: ContextVar[RequestSlots | None] = ContextVar("vmapi_request_slots", default=None)


def begin_request() -> None:
    """Mark the current thread as one that serves a new request."""
    _request_slots.set(RequestSlots(may_wait=not is_nonblocking()))


def is_request_thread() -> bool:
    """Return whether the current thread serves a request."""
    return _request_slots.get() is not None


class Bulkhead:
    """A pool with `slots` places for requests that wait for one dependency.

    `refuse` makes the error of a refused request. With `admits_once`, a request that has had a slot
    is not refused later: it may have changed something already.
    """

    def __init__(
        self,
        slots: int,
        refuse: Callable[[], Exception],
        *,
        admits_once: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._refuse = refuse
        self._admits_once = admits_once
        self._monotonic = monotonic
        self._freed = threading.Condition()
        self._used = 0
        self._progress_at = monotonic()

    @contextmanager
    def occupying(self) -> Iterator[None]:
        """Hold a slot during a call, the same one in nested calls. Raises the error of `refuse`."""
        request = _request_slots.get()
        if request is None or self in request.held:
            yield
            return
        if not request.may_wait:
            raise WouldBlock
        with self._freed:
            if self not in request.admitted:
                self._wait_for_slot()
            self._used += 1
        request.held.add(self)
        if self._admits_once:
            request.admitted.add(self)
        try:
            yield
        finally:
            request.held.discard(self)
            with self._freed:
                self._used -= 1
                self._progress_at = self._monotonic()
                self._freed.notify()

    def _wait_for_slot(self) -> None:
        if self._used < self._slots:
            # the time since which all slots are in use, unless a call ends
            self._progress_at = self._monotonic()
            return
        with _waiting_requests.counting() as is_crowded:
            stall_seconds = CROWDED_STALL_SECONDS if is_crowded else STALL_SECONDS
            while self._used >= self._slots:
                remaining = self._progress_at + stall_seconds - self._monotonic()
                if remaining <= 0:
                    raise self._refuse()
                self._freed.wait(remaining)
