"""Whether what requests need is there, told at once whatever hangs, and however many ask."""

import threading
from collections.abc import Callable, Mapping

from vmapi.backends.base import Backend
from vmapi.errors import BackendTimeout, StoreUnavailable, VmapiError
from vmapi.services.timeouts import run_with_timeout
from vmapi.store.store import Store

HEALTH_CACHE_TTL = 2.0
"""Seconds for which an answer is good."""

BACKEND_CHECK_TIMEOUT = 1.0
"""Seconds that the cloud's answer is waited for."""

STORE_CHECK_TIMEOUT = 3.0
"""The same for the store, without which nothing can be served; it is opened when first used."""

OK = "ok"


class HealthCheck:
    """One thing that is needed: one ping at a time, and its answer remembered.

    `late` is the code of one that has not answered after `patience` seconds, `monotonic` tells the
    time in seconds.
    """

    def __init__(
        self,
        ping: Callable[[], None],
        timeout_code: str,
        timeout: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._ping = ping
        self._timeout_code = timeout_code
        self._timeout = timeout
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pinging = threading.Lock()
        self._status: str | None = None
        self._checked_at = 0.0

    def status(self) -> str:
        """Return `ok`, or the code of what is wrong."""
        with self._lock:
            if self._status is None or self._monotonic() - self._checked_at >= HEALTH_CACHE_TTL:
                self._status, self._checked_at = self._check(), self._monotonic()
            return self._status

    def _check(self) -> str:
        if self._pinging.locked():
            return self._timeout_code
        try:
            run_with_timeout(self._timeout, self._ping_exclusive)
        except BackendTimeout:
            return self._timeout_code
        except VmapiError as error:
            return error.code
        return OK

    def _ping_exclusive(self) -> None:
        with self._pinging:
            self._ping()


class ReadinessChecks:
    """The cloud and the store."""

    def __init__(self, backend: Backend, store: Store, monotonic: Callable[[], float]) -> None:
        self._checks = {
            "backend": HealthCheck(
                backend.ping, BackendTimeout.code, BACKEND_CHECK_TIMEOUT, monotonic
            ),
            "store": HealthCheck(store.ping, StoreUnavailable.code, STORE_CHECK_TIMEOUT, monotonic),
        }

    def statuses(self) -> Mapping[str, str]:
        """Return for each dependency `ok`, or the code of what is wrong."""
        return {name: pulse.status() for name, pulse in self._checks.items()}
