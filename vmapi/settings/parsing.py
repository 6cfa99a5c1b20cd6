"""The notation of settings with several values: `NAME=VALUE,NAME=VALUE`."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from vmapi.errors import SettingsError

T = TypeVar("T")
MAX_MEMORY_SECONDS = 3600

PROJECT_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
"""What the name of a project may be; the ids of Keystone's projects are."""


@dataclass(frozen=True, slots=True)
class KeyValueFormat:
    """One setting: its environment variable, and what is allowed, in words."""

    variable: str
    allowed: str

    def error(self, text: str) -> SettingsError:
        """Say that a text is not allowed, and what is."""
        return SettingsError(f"{self.variable} {text!r}: allowed is {self.allowed}")

    def parse(
        self, text: str, names: Collection[str], parse_value: Callable[[str, str], T]
    ) -> dict[str, T]:
        """Read the pairs; `value` turns a name and what is written for it into a value.

        Raises SettingsError for another name, one named twice, and a ValueError of `value`.
        """
        values: dict[str, T] = {}
        for pair in text.split(",") if text.strip() else ():
            name, _, written = (part.strip() for part in pair.partition("="))
            if name not in names or name in values:
                raise self.error(text)
            try:
                values[name] = parse_value(name, written)
            except ValueError:
                raise self.error(text) from None
        return values


def parse_int(text: str) -> int:
    """Read a whole number from 0 to 999,999,999. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


def parse_decimal(text: str, maximum: float) -> float:
    """Read a number from 0 to `most`, without sign or exponent. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) > maximum:
        raise ValueError(text)
    return float(text)
