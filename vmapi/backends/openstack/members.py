"""Members of the cloud's JSON as storable values; null and wrong types count as missing.

Any user of the cloud can choose many of the texts, some of them also through other tools. The
mapping of servers and the catalog read every member with these functions.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from vmapi.domain.storable_text import storable_text

MAX_NAME_CHARS = 255
"""The length of names in the database, and in Nova, Glance and Neutron."""

MAX_ID_CHARS = 64
"""The length of a project id in the database; a UUID has 36 characters."""

MAX_INTEGER = 2**31 - 1
"""The largest integer of the database's integer columns."""

STORABLE_YEARS = range(1970, 9999)
"""The first and the last year leave room for time zones and overlaps."""


def text_member(document: Any, key: str, max_chars: int = MAX_NAME_CHARS) -> str:
    """Return a text; empty for a missing one."""
    value = object_of(document).get(key)
    return storable_text(value, max_chars) if isinstance(value, str) else ""


def integer_member(document: Any, key: str) -> int | None:
    """Return an integer from 0 to `MAX_INTEGER`; None for any other value."""
    value = object_of(document).get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_INTEGER else None


def time_member(document: Any, key: str) -> datetime | None:
    """Return a time of Nova, which is in UTC with or without an offset; None for a missing one.

    Raises ValueError for a text that is no time, or a time that no row can hold.
    """
    text = text_member(document, key)
    if not text:
        return None
    time = datetime.fromisoformat(text).replace(tzinfo=UTC)
    if time.year not in STORABLE_YEARS:
        raise ValueError(f"{key} is out of range")
    return time


def object_member(document: Any, key: str) -> Mapping[str, Any]:
    """Return an object; empty for a missing one."""
    return object_of(object_of(document).get(key))


def list_member(document: Any, key: str) -> Iterator[Any]:
    """Iterate over a list; nothing for a missing one."""
    value = object_of(document).get(key)
    yield from value if isinstance(value, list) else ()


def texts_of(document: Mapping[str, Any], max_chars: int = MAX_NAME_CHARS) -> dict[str, str]:
    """Return the members of an object that are texts, with storable keys."""
    return {
        storable_text(key, max_chars): storable_text(value, max_chars)
        for key, value in document.items()
        if isinstance(value, str)
    }


def object_of(value: Any) -> Mapping[str, Any]:
    """Return a value if it is an object, else an empty object."""
    return value if isinstance(value, Mapping) else {}
