"""Periodic tasks: functions that the engine calls at an interval."""

from collections.abc import Callable
from dataclasses import dataclass


def always() -> bool:
    """Return True: the task is due at each interval."""
    return True


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A function that the engine calls at an interval. Each task has its own timer thread."""

    func: Callable[[], None]

    #: Seconds between two calls, or between two checks of `is_due`.
    interval: float = 1.0

    is_due: Callable[[], bool] = always

    #: How many calls may be in progress at a time. More than one needs an `is_due`.
    max_concurrent: int = 1

    def __call__(self) -> None:
        """Run the task once, in this thread, if it is due."""
        if self.is_due():
            self.func()
