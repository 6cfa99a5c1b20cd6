"""Asking an issuer for a JSON document."""

import json
import re
import time
import urllib.request
from typing import Any

from vmapi.settings.patterns import ISSUER_URL

DOCUMENT_FETCH_TIMEOUT = 2.0
"""Seconds for a connection, and again for the whole answer."""

MAX_DOCUMENT_BYTES = 1024 * 1024
"""Bytes of an answer."""


class FetchError(Exception):
    """The document is not to be had; the message says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead from https to anywhere."""

    def redirect_request(self, *_: Any) -> None:
        """Return nothing to go on with."""


def fetch_json_object(url: str) -> dict[str, Any]:
    """Return the JSON object at a URL: https, or http on loopback. Raises FetchFailed."""
    if not is_safe_url(url):
        raise FetchError(f"{url} is neither https nor on loopback")
    opener = urllib.request.build_opener(_NoRedirect)
    opener.addheaders = [("Accept", "application/json"), ("User-Agent", "vmapi")]
    try:
        with opener.open(url, timeout=DOCUMENT_FETCH_TIMEOUT) as answer:
            found = json.loads(_read_bounded(answer))
    except (OSError, ValueError, RecursionError) as error:
        raise FetchError(f"{url}: {error}") from error
    if not isinstance(found, dict):
        raise FetchError(f"{url}: not a JSON object")
    return found


def is_safe_url(url: object) -> bool:
    """Tell whether nobody between here and there can change what is read from a URL."""
    return isinstance(url, str) and re.fullmatch(ISSUER_URL, url.partition("?")[0]) is not None


def _read_bounded(response: Any) -> bytes:
    deadline, found = time.monotonic() + DOCUMENT_FETCH_TIMEOUT, b""
    while chunk := response.read1(65536):
        found += chunk
        if len(found) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"longer than {MAX_DOCUMENT_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("took too long")
    return found
