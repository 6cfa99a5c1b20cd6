"""A clock for tests."""

from datetime import UTC, datetime, timedelta


class Clock:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.now = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self.now += timedelta(seconds=seconds)
