"""Decide which requests the poller thread tries to serve: reads that rarely have to wait."""

import time
from collections.abc import Callable

MAX_FAILED_ATTEMPTS = 8
"""Failed attempts in a row after which reads of VMs go to other threads for a while."""

ATTEMPT_PAUSE_SECONDS = 0.1


class NonblockingAttempts:
    """The attempts to serve a request without waiting.

    A failed attempt costs CPU time. All attempts fail where each read has to wait, for example for
    rate counters in Redis; attempts are rare then.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._resumes_at = 0.0

    def is_due(self, kind: str | None) -> bool:
        """Return whether to try a request of a kind; see `RequestBuffer.kind`."""
        if kind == "liveness":
            return True
        if kind != "vms":
            return False
        return self._failures < MAX_FAILED_ATTEMPTS or self._monotonic() >= self._resumes_at

    def record_success(self) -> None:
        """Record that a request was served without waiting."""
        self._failures = 0

    def record_failure(self) -> None:
        """Record that a request had to wait."""
        self._failures += 1
        self._resumes_at = self._monotonic() + ATTEMPT_PAUSE_SECONDS
