"""Header fields of requests: conditions and preferences.

`If-Match` and `If-None-Match` are conditions for VMs (RFC 9110, section 13). A malformed one is an
error. Ignoring it, as werkzeug does, would make an unconditional change. The preferences are
`Prefer: wait=N` (RFC 7240) and `Cache-Control: no-cache`.
"""

import re
import time
from collections.abc import Container

from flask import request

from vmapi.api.request.context import request_state
from vmapi.errors import MalformedRequest

ETAG = r'"[\x21\x23-\x7e\x80-\xff]*"'
ETAG_LIST = re.compile(rf"[ \t,]*(?:W/)?{ETAG}(?:[ \t]*,[ \t,]*(?:W/)?{ETAG})*[ \t,]*")
ETAG_EXAMPLE = 'ETag: "1-a"'
ANY_ETAG = frozenset("*")
CODING_SUFFIX = re.compile(r'(-{1,2}(gzip|deflate|df|br|zstd))+"$')
"""The suffix that a compressing server appends to a tag.

Sources: `DeflateAlterETag` of https://httpd.apache.org/docs/2.4/mod/mod_deflate.html, and
`BrotliAlterETag` of mod_brotli. Jetty writes two hyphens, Caddy also `-zstd`.
"""

PREFER_WAIT_PATTERN = re.compile(r"\s*wait\s*=\s*\"?(\d+)\"?\s*(;.*)?", re.ASCII | re.IGNORECASE)
MAX_WAIT_SECONDS = 60

CREATE_CONDITION_DETAIL = "A create has no VM to compare: omit If-Match."
UNSUPPORTED_CONDITION_DETAILS = {
    "If-Match": "If-Match applies to the change of one VM. Change the VMs one by one, each with "
    "its own ETag, or omit If-Match.",
    "If-None-Match": "If-None-Match applies to reads. To change a VM only if it is unchanged, "
    "send its ETag in If-Match.",
}
"""Details by header, for a change that the header cannot guard."""


def parse_if_match() -> frozenset[str]:
    """Return the entity tags of `If-Match`; empty if any VM state is acceptable.

    Weak tags (`W/`) count as strong ones, and the suffix of a content coding does not count: a
    compressing proxy changes the tags that vmapi sent. Raises MalformedRequest.
    """
    return required_etags("If-Match", request.headers.get("If-Match"))


def required_etags(name: str, value: str | None, example: str = ETAG_EXAMPLE) -> frozenset[str]:
    """Return the entity tags of a text in the form of `If-Match`.

    `example` shows a tag. Raises MalformedRequest.
    """
    etags = _parse_etags(name, value, example)
    return frozenset() if etags is None or etags == ANY_ETAG else etags


def if_none_match_matches(etag: str | None) -> bool:
    """Return whether `If-None-Match` contains an entity tag. Raises MalformedRequest."""
    if request.headers.get("If-None-Match") == etag is not None:
        return True
    etags = _parse_etags("If-None-Match", request.headers.get("If-None-Match"))
    return etags is not None and (etags == ANY_ETAG or etag in etags)


def reject_unsupported_conditions(supported: Container[str], *, creates: bool) -> None:
    """Raise MalformedRequest if the request has a condition that the endpoint ignores.

    `creates`: the endpoint creates a VM.
    """
    details = UNSUPPORTED_CONDITION_DETAILS
    if creates:
        details = details | {"If-Match": CREATE_CONDITION_DETAIL}
    for header, detail in details.items():
        if header in request.headers and header not in supported:
            raise MalformedRequest(detail)


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


def _parse_etags(
    name: str, value: str | None, example: str = ETAG_EXAMPLE
) -> frozenset[str] | None:
    if value is None:
        return None
    if value.strip(" \t") == "*":
        return ANY_ETAG
    if ETAG_LIST.fullmatch(value) is None:
        raise MalformedRequest(
            f"{name} must be * or a list of entity tags in double quotes, as in {example}."
        )
    return frozenset(CODING_SUFFIX.sub('"', tag) for tag in re.findall(ETAG, value))
