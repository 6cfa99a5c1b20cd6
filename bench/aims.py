"""The rows of the results: a measured value, and the aim that it is compared with."""

import math
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Limit:
    """The bound of an aim."""

    bound: float
    is_minimum: bool = False

    @classmethod
    def at_most(cls, bound: float) -> Self:
        """Return a limit for a value that is better the lower it is."""
        return cls(bound)

    @classmethod
    def at_least(cls, bound: float) -> Self:
        """Return a limit for a value that is better the higher it is."""
        return cls(bound, is_minimum=True)

    def allows(self, value: float) -> bool:
        """Return whether a value meets the limit."""
        return value >= self.bound if self.is_minimum else value <= self.bound

    def render(self, unit: str) -> str:
        """Return the limit as text."""
        return f"{'at least' if self.is_minimum else 'at most'} {render_value(self.bound, unit)}"


@dataclass(frozen=True)
class Row:
    """One measured value. Without a limit it is information."""

    aim: str
    """The number of the aim."""
    subject: str
    value: float
    unit: str
    """`×` for a ratio within the run."""
    limit: Limit | None = None
    detail: str = ""

    @property
    def outcome(self) -> str:
        """Whether the value meets the limit: yes, no, or nothing without a limit."""
        if self.limit is None:
            return ""
        if not math.isfinite(self.value):
            return "not measured"
        return "yes" if self.limit.allows(self.value) else "**no**"


@dataclass(frozen=True)
class Table:
    """Values that are too many for rows."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


Result = Row | Table


def render_value(value: float, unit: str) -> str:
    """Return a value with three significant digits and its unit."""
    if not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()
