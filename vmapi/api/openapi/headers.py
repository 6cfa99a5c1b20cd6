"""Request and response headers as the OpenAPI document describes them."""

from typing import Any

ETAGS_PATTERN = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'


def _request_header(name: str, description: str, **extra: Any) -> dict[str, Any]:
    return {
        "in": "header",
        "name": name,
        "description": description,
        "schema": {"type": "string"},
        **extra,
    }


def _response_header(
    name: str, description: str, schema: dict[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    return {name: {"schema": schema or {"type": "string"}, "description": description}}


IDEMPOTENCY_KEY_HEADER = _request_header(
    "Idempotency-Key",
    "Makes the change safe to repeat: requests with the same key change the VM once.",
    schema={"type": "string", "pattern": "^[ -~]{1,255}$"},
)
PREFER_HEADER = _request_header(
    "Prefer",
    "`wait=N` delays the response until the operation finishes, for at most N seconds (RFC 7240).",
)
IF_MATCH_HEADER = _request_header(
    "If-Match",
    "Entity tags: the change is refused unless the VM has one of them. `*` matches any VM. "
    'Send an `ETag` as you received it, with its quotes: `"3-730eefdc4dbea94c"`.',
    schema={"type": "string", "pattern": ETAGS_PATTERN},
)
IF_NONE_MATCH_HEADER = _request_header(
    "If-None-Match",
    "Entity tags: the response is 304 if the VM still has one of them. "
    'Send an `ETag` as you received it, with its quotes: `"3-730eefdc4dbea94c"`.',
    schema={"type": "string", "pattern": ETAGS_PATTERN},
)
CACHE_CONTROL_HEADER = _request_header(
    "Cache-Control", "`no-cache` reads from the cloud before the response."
)
LAST_EVENT_ID_HEADER = _request_header(
    "Last-Event-ID",
    "The `id` of the last event received: the stream starts with the event after it.",
)

OPERATION_LOCATION_HEADER = _response_header(
    "Operation-Location", "URL path of the operation that makes the change."
)
LOCATION_HEADER = _response_header("Location", "URL path of the new VM.")
RETRY_AFTER_HEADER = _response_header(
    "Retry-After", "Seconds to wait before the next request.", {"type": "integer"}
)
RATE_LIMIT_HEADERS = {
    **_response_header("RateLimit", "Remaining requests and seconds until the reset, by limit."),
    **_response_header("RateLimit-Policy", "The rate limits: quota and window in seconds."),
}
CHALLENGE_HEADER = _response_header(
    "WWW-Authenticate", "The authentication scheme, and the error of the token (RFC 6750)."
)
LINK_HEADER = _response_header("Link", "URL of the next page (RFC 8288).")
ETAG_HEADER = _response_header("ETag", "Entity tag of the VM, for `If-Match`.")
AGE_HEADER = _response_header(
    "Age", "Seconds since vmapi read the data from the cloud.", {"type": "integer"}
)
READ_HEADERS = {
    **ETAG_HEADER,
    **AGE_HEADER,
    **_response_header("Cache-Control", "`private, no-cache`: a cache must revalidate."),
}
IDEMPOTENT_REPLAYED_HEADER = _response_header(
    "Idempotent-Replayed",
    "Present if an earlier request with the same Idempotency-Key made the change.",
    {"const": "true"},
)
PREFERENCE_APPLIED_HEADER = _response_header(
    "Preference-Applied", "The `wait` preference that the response honored."
)
OUTCOME_HEADERS = {**IDEMPOTENT_REPLAYED_HEADER, **OPERATION_LOCATION_HEADER}

PROBLEM_HEADERS: dict[str, dict[str, Any]] = {
    "backend_unavailable": RETRY_AFTER_HEADER,
    "idempotency_in_progress": {**RETRY_AFTER_HEADER, **OPERATION_LOCATION_HEADER},
    "issuer_unavailable": RETRY_AFTER_HEADER,
    "rate_limited": {**RETRY_AFTER_HEADER, **RATE_LIMIT_HEADERS},
    "store_unavailable": RETRY_AFTER_HEADER,
    "unauthenticated": CHALLENGE_HEADER,
}
"""Headers of a problem response, by code."""

CHANGE_PROBLEM_HEADERS: dict[str, dict[str, Any]] = {
    "backend_timeout": OPERATION_LOCATION_HEADER,
    "name_taken": OPERATION_LOCATION_HEADER,
    "precondition_failed": ETAG_HEADER,
    "store_unavailable": {**RETRY_AFTER_HEADER, **OPERATION_LOCATION_HEADER},
}
"""The same for changes: these entries replace those of `PROBLEM_HEADERS`."""
