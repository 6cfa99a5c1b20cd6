"""The cloud's clock, by the `Date` of its answers (RFC 9110, section 6.6.1)."""

from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

CLOCK_SAMPLES = 64
"""Answers that are remembered: of whole seconds, the one that was cut off least tells most."""

MAX_CLOCK_SKEW = timedelta(minutes=1)
"""By how much our clock may be ahead of the cloud's, as long as the cloud has not told."""


class CloudClock:
    """Ours, set back by as much as the cloud's may be behind."""

    def __init__(self) -> None:
        self._offsets: deque[timedelta] = deque(maxlen=CLOCK_SAMPLES)

    def record_date(self, date: str | None) -> None:
        """Hear what time an answer was given that has just come."""
        present = datetime.now(UTC)
        try:
            moment = parsedate_to_datetime(date or "").astimezone(UTC)
        except ValueError:
            return
        self._offsets.append(moment - present)

    def now(self) -> datetime:
        """Return the cloud's time; never ahead of it."""
        return datetime.now(UTC) + max(self._offsets.copy(), default=-MAX_CLOCK_SKEW)
