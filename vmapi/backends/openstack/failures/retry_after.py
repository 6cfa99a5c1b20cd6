"""The wait that a service of the cloud asks for, in the `Retry-After` of its response.

`errors` passes it on to clients. Invariant: the result is from 1 to `MAX_RETRY_AFTER` seconds.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

MAX_RETRY_AFTER = 300
"""Seconds; longer demands of the cloud are cut."""


def parse_retry_after(response: requests.Response) -> int:
    """Return the seconds of `Retry-After` (RFC 9110, section 10.2.3), from 1 to 300.

    The default for a response without the header is 5.
    """
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text.isdecimal() else _seconds_until(text)
    except (ValueError, OverflowError):
        return 5
    return round(max(1, min(seconds, MAX_RETRY_AFTER)))


def _seconds_until(http_date: str) -> float:
    return (parsedate_to_datetime(http_date).astimezone(UTC) - datetime.now(UTC)).total_seconds()
