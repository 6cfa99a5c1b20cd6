"""Conditional requests: `If-Match` and `If-None-Match` for VMs (RFC 9110, section 13).

A malformed header is an error. Ignoring it, as werkzeug does, would make an unconditional change.
"""

import re
from collections.abc import Container

from flask import request

from vmapi.errors import MalformedRequest

ETAG = r'"[\x21\x23-\x7e\x80-\xff]*"'
ETAG_LIST = re.compile(rf"[ \t,]*(?:W/)?{ETAG}(?:[ \t]*,[ \t,]*(?:W/)?{ETAG})*[ \t,]*")
ANY_ETAG = frozenset("*")
CODING_SUFFIX = re.compile(r'(-{1,2}(gzip|deflate|df|br|zstd))+"$')
"""The suffix that a compressing server appends to a tag.

Sources: `DeflateAlterETag` of https://httpd.apache.org/docs/2.4/mod/mod_deflate.html, and
`BrotliAlterETag` of mod_brotli. Jetty writes two hyphens, Caddy also `-zstd`.
"""

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
    etags = _parse_etags("If-Match")
    return frozenset() if etags is None or etags == ANY_ETAG else etags


def if_none_match_matches(etag: str | None) -> bool:
    """Return whether `If-None-Match` contains an entity tag. Raises MalformedRequest."""
    if request.headers.get("If-None-Match") == etag is not None:
        return True
    etags = _parse_etags("If-None-Match")
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


def _parse_etags(header: str) -> frozenset[str] | None:
    value = request.headers.get(header)
    if value is None:
        return None
    if value.strip(" \t") == "*":
        return ANY_ETAG
    if ETAG_LIST.fullmatch(value) is None:
        raise MalformedRequest(
            f'{header} must be * or a list of entity tags in double quotes, as in ETag: "1-a".'
        )
    return frozenset(CODING_SUFFIX.sub('"', tag) for tag in re.findall(ETAG, value))
