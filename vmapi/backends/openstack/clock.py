"""The cloud's clock, estimated from the `Date` headers of responses.

Source: RFC 9110, section 6.6.1. The session records responses with Nova's marks; the driver reads
`now`. Invariant: the estimate is never ahead of the cloud's clock, so that a poll of changes since
then misses nothing.
"""

from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

CLOCK_SAMPLES = 64
"""Responses that count. `Date` has whole seconds; the sample with the latest date is best."""

MAX_CLOCK_SKEW = timedelta(minutes=1)
"""The assumed difference between both clocks before the first response."""


class CloudClock:
    """The cloud's clock: the local clock plus the estimated difference. Thread-safe."""

    def __init__(self) -> None:
        self._offsets: deque[timedelta] = deque(maxlen=CLOCK_SAMPLES)

    def record_date(self, date: str | None) -> None:
        """Record the `Date` of a response that has just arrived, unless malformed."""
        received_at = datetime.now(UTC)
        try:
            sent_at = parsedate_to_datetime(date or "").astimezone(UTC)
        except ValueError:
            return
        self._offsets.append(sent_at - received_at)

    def now(self) -> datetime:
        """Return the time on the cloud's clock; never ahead of it."""
        return datetime.now(UTC) + max(self._offsets.copy(), default=-MAX_CLOCK_SKEW)
