"""The cloud's clock, estimated from the `Date` headers of responses.

Source: RFC 9110, section 6.6.1. The session records responses with Nova's marks; the driver reads
`now`. Invariant: the estimate is never ahead of the cloud's clock, so that a poll of changes since
then misses nothing.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

CLOCK_SAMPLES = 64
"""Responses that count. `Date` has whole seconds; the sample with the latest date is best."""

MAX_CLOCK_SKEW = timedelta(minutes=1)
"""The assumed difference to the local clock before the first response."""


class CloudClock:
    """The cloud's clock: the date of a response, and the time since then. Thread-safe.

    `monotonic` returns seconds. The local clock may be set forward between two responses.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        #: the cloud's time at the zero of `monotonic`, from each response
        self._origins: deque[datetime] = deque(maxlen=CLOCK_SAMPLES)

    def record_date(self, date: str | None) -> None:
        """Record the `Date` of a response that has just arrived, unless malformed."""
        received_at = self._elapsed()
        try:
            sent_at = parsedate_to_datetime(date or "").astimezone(UTC)
            self._origins.append(sent_at - received_at)
        except (ValueError, OverflowError):
            return

    def now(self) -> datetime:
        """Return the time on the cloud's clock; never ahead of it."""
        origins = self._origins.copy()
        return max(origins) + self._elapsed() if origins else datetime.now(UTC) - MAX_CLOCK_SKEW

    def _elapsed(self) -> timedelta:
        return timedelta(seconds=self._monotonic())
