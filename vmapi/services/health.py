"""Readiness checks of the cloud and the database, bounded in time and cached.

`GET /readyz` calls them. A dependency that hangs, or many requests at a time, cause one ping at a
time and no waiting beyond the timeouts.
"""

import threading
from collections.abc import Callable, Mapping
from math import inf

import structlog

from vmapi.errors import (
    BackendTimeout,
    InternalError,
    StoreUnavailable,
    VmapiError,
)
from vmapi.services.timeouts import run_with_timeout, throttled_seconds

log = structlog.get_logger("vmapi.health")

HEALTH_CACHE_TTL = 2.0
"""Seconds for which the status of a dependency is cached."""

BACKEND_CHECK_TIMEOUT = 1.0

STORE_CHECK_TIMEOUT = 3.0
"""Longer than for the cloud: the first check opens the database."""

OK = "ok"


class HealthCheck:
    """The cached check of one dependency.

    `timeout_code` is the status of a dependency that does not respond within `timeout` seconds.
    `monotonic` returns seconds.
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
        self._ping_lock = threading.Lock()
        self._status = OK
        self._next_check_at = -inf

    def status(self) -> str:
        """Return `ok` or the code of the error."""
        with self._lock:
            if self._monotonic() >= self._next_check_at:
                self._status, pause = self._check()
                self._next_check_at = self._monotonic() + max(pause, HEALTH_CACHE_TTL)
            return self._status

    def _check(self) -> tuple[str, float]:
        """Return the status, and the seconds that a throttled cloud asks to wait."""
        if self._ping_lock.locked():
            # an earlier ping still hangs
            return self._timeout_code, 0.0
        try:
            run_with_timeout(self._timeout, self._ping_exclusive)
        except BackendTimeout:
            return self._timeout_code, 0.0
        except VmapiError as error:
            return error.code, throttled_seconds(error)
        except Exception:
            log.exception("health check failed")
            return InternalError.code, 0.0
        return OK, 0.0

    def _ping_exclusive(self) -> None:
        with self._ping_lock:
            self._ping()


class ReadinessChecks:
    """The health checks of the cloud and the database."""

    def __init__(
        self,
        ping_backend: Callable[[], None],
        ping_store: Callable[[], None],
        monotonic: Callable[[], float],
        *,
        backend_timeout: float = BACKEND_CHECK_TIMEOUT,
        store_timeout: float = STORE_CHECK_TIMEOUT,
    ) -> None:
        self._checks = {
            "backend": HealthCheck(ping_backend, BackendTimeout.code, backend_timeout, monotonic),
            "store": HealthCheck(ping_store, StoreUnavailable.code, store_timeout, monotonic),
        }

    def statuses(self) -> Mapping[str, str]:
        """Return the status of each dependency: `ok` or the code of the error."""
        return {name: check.status() for name, check in self._checks.items()}
