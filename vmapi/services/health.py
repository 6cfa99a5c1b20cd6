"""Whether what requests need is there, told at once whatever hangs, and however many ask."""

import threading
from collections.abc import Callable, Mapping

from vmapi.backends.base import Backend
from vmapi.errors import BackendTimeout, StoreUnavailable, VmapiError
from vmapi.services.timeouts import at_most
from vmapi.store.store import Store

REMEMBERED = 2.0
"""Seconds for which an answer is good."""

PATIENCE = 1.0
"""Seconds that the cloud's answer is waited for."""

LONGER = 3.0
"""The same for the store, without which nothing can be served; it is opened when first used."""

OK = "ok"


class Pulse:
    """One thing that is needed: one ping at a time, and its answer remembered.

    `late` is the code of one that has not answered after `patience` seconds, `monotonic` tells the
    time in seconds.
    """

    def __init__(
        self, ping: Callable[[], None], late: str, patience: float, monotonic: Callable[[], float]
    ) -> None:
        self._ping = ping
        self._late = late
        self._patience = patience
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pinging = threading.Lock()
        self._state: str | None = None
        self._at = 0.0

    def state(self) -> str:
        """Return `ok`, or the code of what is wrong."""
        with self._lock:
            if self._state is None or self._monotonic() - self._at >= REMEMBERED:
                self._state, self._at = self._ask(), self._monotonic()
            return self._state

    def _ask(self) -> str:
        if self._pinging.locked():
            return self._late
        try:
            at_most(self._patience, self._alone)
        except BackendTimeout:
            return self._late
        except VmapiError as error:
            return error.code
        return OK

    def _alone(self) -> None:
        with self._pinging:
            self._ping()


class Readiness:
    """The cloud and the store."""

    def __init__(self, backend: Backend, store: Store, monotonic: Callable[[], float]) -> None:
        self._pulses = {
            "backend": Pulse(backend.ping, BackendTimeout.code, PATIENCE, monotonic),
            "store": Pulse(store.ping, StoreUnavailable.code, LONGER, monotonic),
        }

    def states(self) -> Mapping[str, str]:
        """Return for each dependency `ok`, or the code of what is wrong."""
        return {name: pulse.state() for name, pulse in self._pulses.items()}
