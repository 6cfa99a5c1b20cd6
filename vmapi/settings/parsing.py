"""Text forms of setting values: numbers, durations, names, lists and NAME=VALUE pairs."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import TypeVar

from vmapi.settings.declaration import ValueFormat

T = TypeVar("T")

TRUE_WORDS = frozenset({"true", "t", "yes", "y", "on", "1"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "off", "0"})
WILDCARD = "*"


def matching(pattern: str, allowed: str) -> ValueFormat[str]:
    """Return the format of texts that match a regular expression as a whole."""

    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(text)
        return text

    return ValueFormat(allowed, parse)


def one_of(values: Collection[str], allowed: str) -> ValueFormat[str]:
    """Return the format of a fixed set of texts."""
    return matching("|".join(map(re.escape, values)), allowed)


def non_empty_text() -> ValueFormat[str]:
    """Return the format of any text."""
    return matching(r"(?s:.+)", "a text that is not empty")


def comma_list(pattern: str, allowed: str) -> ValueFormat[tuple[str, ...]]:
    """Return the format of items that each match a regular expression, separated by commas."""
    items = matching(rf"{pattern}(,{pattern})*", allowed)
    return ValueFormat(allowed, lambda text: tuple(items.parse(text).split(",")), ",".join)


def integer(low: int, high: int) -> ValueFormat[int]:
    """Return the format of a whole number within bounds."""
    return _bounded(int, low, high, f"a whole number from {low} to {high}")


def integer_seconds(low: int, high: int) -> ValueFormat[int]:
    """Return the format of a whole number of seconds within bounds."""
    return _bounded(int, low, high, f"seconds, {low} to {high}")


def decimal_seconds(low: int, high: int) -> ValueFormat[float]:
    """Return the format of a number of seconds within bounds."""
    parse = _bounded(float, float(low), float(high), "").parse
    return ValueFormat(f"seconds, {low} to {high}", parse, lambda value: f"{value:g}")


def duration(unit: str, high: int) -> ValueFormat[timedelta]:
    """Return the format of a duration: from 1 to `high` whole units, `days` or `hours`."""
    length = timedelta(**{unit: 1})
    number = integer(1, high)
    return ValueFormat(
        f"{unit}, 1 to {high}",
        lambda text: number.parse(text) * length,
        lambda value: str(value // length),
    )


def boolean() -> ValueFormat[bool]:
    """Return the format of true and false."""

    def parse(text: str) -> bool:
        if (word := text.lower()) not in TRUE_WORDS | FALSE_WORDS:
            raise ValueError(text)
        return word in TRUE_WORDS

    return ValueFormat("true or false", parse, lambda value: str(value).lower())


def parse_pairs(
    text: str, names: Collection[str], parse_value: Callable[[str, str], T]
) -> dict[str, T]:
    """Parse `NAME=VALUE,NAME=VALUE`; `parse_value` gets the name and the text of its value.

    Raises ValueError for an unknown name, a repeated name, and a value that is not allowed.
    """
    values: dict[str, T] = {}
    for pair in text.split(",") if text.strip() else ():
        name, _, value = (part.strip() for part in pair.partition("="))
        if name not in names or name in values:
            raise ValueError(text)
        values[name] = parse_value(name, value)
    return values


def render_pairs(values: Mapping[str, str]) -> str:
    """Render values by name as `NAME=VALUE,NAME=VALUE`; the most frequent value becomes `*`."""
    if not values:
        return ""
    common, count = Counter(values.values()).most_common(1)[0]
    if count == 1:
        return ",".join(f"{name}={value}" for name, value in values.items())
    pairs = [f"{name}={value}" for name, value in values.items() if value != common]
    return ",".join([*pairs, f"{WILDCARD}={common}"])


def parse_int(text: str) -> int:
    """Parse a whole number from 0 to 999,999,999. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


def parse_decimal(text: str, maximum: float) -> float:
    """Parse a number from 0 to `maximum`, without sign or exponent. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) > maximum:
        raise ValueError(text)
    return float(text)


def _bounded(parse: Callable[[str], T], low: T, high: T, allowed: str) -> ValueFormat[T]:
    def parse_bounded(text: str) -> T:
        value = parse(text)
        # phrased so that nan, which compares to nothing, is refused
        if not low <= value <= high:  # type: ignore[operator]
            raise ValueError(text)
        return value

    return ValueFormat(allowed, parse_bounded)
