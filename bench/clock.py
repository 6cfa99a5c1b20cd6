"""Measure the duration of a call."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Duration:
    """A duration in milliseconds: wall time, and CPU time of this process."""

    wall: float
    cpu: float

    def __sub__(self, other: "Duration") -> "Duration":
        return Duration(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: "Duration") -> "Duration":
        return Duration(self.wall + other.wall, self.cpu + other.cpu)


def measure(call: Callable[[], object]) -> Duration:
    """Return the duration of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Duration((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)
