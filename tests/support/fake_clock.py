"""A clock for tests."""

from datetime import UTC, datetime, timedelta


class Clock:
    """A time that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return what time it is."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time go on."""
        self.now += timedelta(seconds=seconds)
