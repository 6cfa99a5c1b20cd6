"""The log of an outage of the cloud: its first failure, one line a minute, and its end.

A sync or poll that fails is repeated after two seconds: a line for each would bury all others.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from vmapi.errors import VmapiError
from vmapi.telemetry.operator_text import operator_text

log = structlog.get_logger("vmapi.sync")

FAILURE_LOG_INTERVAL = 60.0
"""Seconds between two log lines of one outage."""


@dataclass(frozen=True, slots=True)
class PastOutage:
    """An outage that has ended."""

    seconds: float
    failures: int


class FailureCounter:
    """Counts the failures of an outage, and says when a log line is due.

    Thread-safe; `monotonic` returns seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._next_line_at = 0.0
        self._failures = 0

    def count_failure(self) -> int | None:
        """Count a failure; return the failures of the outage unless it had a line this minute."""
        with self._lock:
            now = self._monotonic()
            self._failures += 1
            if self._began_at is None:
                self._began_at = now
            elif now < self._next_line_at:
                return None
            self._next_line_at = now + FAILURE_LOG_INTERVAL
            return self._failures

    def end_outage(self) -> PastOutage | None:
        """End the outage, and return it if there is one."""
        if self._began_at is None:
            return None
        with self._lock:
            began_at, self._began_at = self._began_at, None
            failures, self._failures = self._failures, 0
        if began_at is None:
            return None
        return PastOutage(round(self._monotonic() - began_at, 1), failures)


class SyncFailureLog:
    """Logs the failures of one kind of sync. Thread-safe; `monotonic` returns seconds."""

    def __init__(self, kind: str, monotonic: Callable[[], float]) -> None:
        self._kind = kind
        self._counter = FailureCounter(monotonic)

    def record_failure(self, error: VmapiError) -> None:
        """Count a failure, and log it unless the outage had a line in this minute."""
        failures = self._counter.count_failure()
        if failures is None:
            return
        log.warning(
            "inventory sync failed; serving cached data",
            kind=self._kind,
            reason=operator_text(error),
            failures=failures,
        )

    def record_success(self) -> None:
        """End the outage, if there is one."""
        outage = self._counter.end_outage()
        if outage is not None:
            log.info(
                "inventory sync works again",
                kind=self._kind,
                seconds=outage.seconds,
                failures=outage.failures,
            )
