"""What is done again and again beside the operations."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Called each `every` seconds, by a thread of its own."""

    func: Callable[[], None]
    interval: float = 1.0

    def __call__(self) -> None:
        """Do it once."""
        self.func()
