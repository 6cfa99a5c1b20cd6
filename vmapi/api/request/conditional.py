"""Conditional requests: the entity tags that a client has of a VM (RFC 9110, section 13)."""

import re
from collections.abc import Container

from flask import request

from vmapi.errors import MalformedRequest

TAG = r'"[\x21\x23-\x7e\x80-\xff]*"'
TAGS = re.compile(rf"[ \t,]*(?:W/)?{TAG}(?:[ \t]*,[ \t,]*(?:W/)?{TAG})*[ \t,]*")
ANY_ETAG = frozenset("*")
UNSUPPORTED_CONDITION_DETAILS = {
    "If-Match": "If-Match is for the change of one VM: send the changes one by one, each with the "
    "ETag of its VM, or leave it away.",
    "If-None-Match": "If-None-Match is for reads: to change a VM only as it was seen, send its "
    "ETag in If-Match.",
}
"""What to do where a change came with a condition that does not guard it."""


def parse_if_match() -> frozenset[str]:
    """Return the tags of which a VM must have one to be changed; none where any will do.

    A proxy that compresses has made them weak (W/): they are taken as they were before.
    Raises MalformedRequest.
    """
    found = _parse_etags("If-Match")
    return frozenset() if found is None or found == ANY_ETAG else found


def if_none_match_matches(etag: str | None) -> bool:
    """Tell whether the client has what has this tag. Raises MalformedRequest."""
    found = _parse_etags("If-None-Match")
    return found is not None and (found == ANY_ETAG or etag in found)


def reject_unsupported_conditions(heeded: Container[str]) -> None:
    """Raise MalformedRequest where a change came with a condition that it would not heed."""
    for header, advice in UNSUPPORTED_CONDITION_DETAILS.items():
        if header in request.headers and header not in heeded:
            raise MalformedRequest(advice)


def _parse_etags(header: str) -> frozenset[str] | None:
    sent = request.headers.get(header)
    if sent is None:
        return None
    if sent.strip(" \t") == "*":
        return ANY_ETAG
    if TAGS.fullmatch(sent) is None:
        raise MalformedRequest(
            f'{header} must be * or entity tags, each in double quotes, as ETag gives them: "1-a".'
        )
    return frozenset(re.findall(TAG, sent))
