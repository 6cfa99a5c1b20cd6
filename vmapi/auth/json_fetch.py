"""Asking an issuer for a JSON document."""

import json
import re
import time
import urllib.request
from typing import Any

from vmapi.settings.auth import ISSUER

TIMEOUT = 2.0
"""Seconds for a connection, and again for the whole answer."""

LARGEST = 1024 * 1024
"""Bytes of an answer."""


class FetchFailed(Exception):
    """The document is not to be had; the message says why."""


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead from https to anywhere."""

    def redirect_request(self, *_: Any) -> None:
        """Return nothing to go on with."""


def fetch(url: str) -> dict[str, Any]:
    """Return the JSON object at a URL: https, or http on loopback. Raises FetchFailed."""
    if not is_safe(url):
        raise FetchFailed(f"{url} is neither https nor on loopback")
    opener = urllib.request.build_opener(_Straight)
    opener.addheaders = [("Accept", "application/json"), ("User-Agent", "vmapi")]
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            found = json.loads(_read(answer))
    except (OSError, ValueError, RecursionError) as error:
        raise FetchFailed(f"{url}: {error}") from error
    if not isinstance(found, dict):
        raise FetchFailed(f"{url}: not a JSON object")
    return found


def is_safe(url: object) -> bool:
    """Tell whether nobody between here and there can change what is read from a URL."""
    return isinstance(url, str) and re.fullmatch(ISSUER, url.partition("?")[0]) is not None


def _read(answer: Any) -> bytes:
    deadline, found = time.monotonic() + TIMEOUT, b""
    while chunk := answer.read1(65536):
        found += chunk
        if len(found) > LARGEST:
            raise ValueError(f"longer than {LARGEST} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("took too long")
    return found
