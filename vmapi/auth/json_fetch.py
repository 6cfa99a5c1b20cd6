"""Fetches JSON documents from an issuer, with bounds on time, size and redirects."""

import json
import re
import time
import urllib.request
from http.client import HTTPException
from typing import Any

from vmapi.settings.patterns import ISSUER_URL

#: Seconds for the connection, and again for the whole response.
DOCUMENT_FETCH_TIMEOUT = 2.0
MAX_DOCUMENT_BYTES = 1024 * 1024


class FetchError(Exception):
    """The document could not be fetched; the message has the reason."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: one could lead from https to any host."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request to continue with."""


def fetch_json_object(url: str) -> dict[str, Any]:
    """Fetch a JSON object over https, or over http on loopback. Raises FetchError."""
    if not is_safe_url(url):
        raise FetchError(f"{url} is neither https nor on loopback")
    opener = urllib.request.build_opener(_NoRedirect)
    opener.addheaders = [("Accept", "application/json"), ("User-Agent", "vmapi")]
    try:
        with opener.open(url, timeout=DOCUMENT_FETCH_TIMEOUT) as response:
            document = json.loads(_read_bounded(response))
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise FetchError(f"{url}: {error}") from error
    if not isinstance(document, dict):
        raise FetchError(f"{url}: not a JSON object")
    return document


def is_safe_url(url: object) -> bool:
    """Return whether no third party can change the response of a URL on its way."""
    return isinstance(url, str) and re.fullmatch(ISSUER_URL, url.partition("?")[0]) is not None


def _read_bounded(response: Any) -> bytes:
    deadline, body = time.monotonic() + DOCUMENT_FETCH_TIMEOUT, b""
    while chunk := response.read1(65536):
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"longer than {MAX_DOCUMENT_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("took too long")
    return body
