"""Preferences of the client: `Prefer: wait=N` (RFC 7240) and `Cache-Control: no-cache`."""

import re
import time

from flask import request

from vmapi.api.request.context import request_state

PREFER_WAIT_PATTERN = re.compile(r"\s*wait\s*=\s*\"?(\d+)\"?\s*(;.*)?", re.ASCII | re.IGNORECASE)
MAX_WAIT_SECONDS = 60


def preferred_wait() -> int:
    """Return the seconds that the response may wait for the operation to finish (RFC 7240)."""
    for preference in request.headers.get("Prefer", "").split(","):
        if match := PREFER_WAIT_PATTERN.fullmatch(preference):
            # int() refuses thousands of digits; three digits already exceed the maximum
            return min(int(match[1].lstrip("0")[:3] or 0), MAX_WAIT_SECONDS)
    return 0


def preference_applied(*, finished: bool) -> dict[str, str]:
    """Return the `Preference-Applied` header if the response honored `Prefer: wait`.

    Without a free wait slot the response does not wait: the header is then absent, unless the
    operation has finished.
    """
    seconds = preferred_wait()
    honored = finished or time.perf_counter() - request_state().started_at >= seconds
    return {"Preference-Applied": f"wait={seconds}"} if seconds and honored else {}


def no_cache() -> bool:
    """Return whether the client wants fresh data from the cloud (RFC 9111, section 5.2.1.4)."""
    return bool(request.cache_control.no_cache)
