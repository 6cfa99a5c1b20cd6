"""vmapi with a wall clock that a test moves: the file of `SHIFT_FILE` has the offset in seconds.

Monotonic clocks stay right, as when an operator or NTP sets the time of a machine.
"""

import datetime
import os
import time
from pathlib import Path
from typing import Any

SHIFT_FILE = Path(os.environ["SHIFT_FILE"])
real_time_ns, real_datetime = time.time_ns, datetime.datetime


def read_offset() -> int:
    """Return the offset in seconds."""
    return int(SHIFT_FILE.read_text())


class _ShiftedType(type(real_datetime)):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, real_datetime)


class ShiftedDatetime(real_datetime, metaclass=_ShiftedType):
    """Makes datetimes, which are no instances of it, with the wall clock of the test."""

    def __new__(cls, *args: Any, **more: Any) -> Any:
        """Return a datetime: a library may refuse a subclass."""
        return real_datetime(*args, **more)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """Return the present time."""
        return real_datetime.now(tz) + datetime.timedelta(seconds=read_offset())


time.time_ns = lambda: real_time_ns() + read_offset() * 1_000_000_000
time.time = lambda: time.time_ns() / 1_000_000_000
datetime.datetime = ShiftedDatetime

# after the clocks are shifted
from wsgi import app  # noqa: E402

__all__ = ["app"]
