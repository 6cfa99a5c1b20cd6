"""The time that a call takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Time:
    """Milliseconds: on the wall, and of this process's own CPU."""

    wall: float
    cpu: float

    def __sub__(self, other: "Time") -> "Time":
        return Time(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: "Time") -> "Time":
        return Time(self.wall + other.wall, self.cpu + other.cpu)


def timed(call: Callable[[], object]) -> Time:
    """Return what one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Time((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)
