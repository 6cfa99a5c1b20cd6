"""RFC 3339 times: parsing for requests, formatting for responses."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

RFC3339_PATTERN = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_rfc3339(text: str) -> datetime:
    """Return the time. Raises ValueError with a message for the client."""
    if RFC3339_PATTERN.fullmatch(text) is None:
        raise ValueError("Must be an RFC 3339 time with an offset: 2026-02-25T10:30:00Z.")
    try:
        return datetime.fromisoformat(text.upper())
    except (ValueError, OverflowError):
        raise ValueError("This time does not exist.") from None


def format_rfc3339(time: datetime) -> str:
    """Return a UTC time in RFC 3339 with a Z."""
    return f"{time.isoformat()[:-6]}Z"
