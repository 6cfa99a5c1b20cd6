"""Request and response headers as the OpenAPI document describes them.

Endpoints declare headers by name. The document has one component for each name.
"""

from typing import Any

ETAGS_PATTERN = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
STRING = {"type": "string"}
INTEGER = {"type": "integer"}

REQUEST_HEADERS: dict[str, dict[str, Any]] = {
    "Cache-Control": {
        "description": "`no-cache` reads from the cloud before the response.",
        "schema": STRING,
    },
    "Idempotency-Key": {
        "description": "Makes the change safe to repeat: requests with the same key change the VM "
        "once.",
        "schema": {**STRING, "pattern": "^[ -~]{1,255}$"},
    },
    "If-Match": {
        "description": "Entity tags: the change is refused unless the VM has one of them. "
        "`*` matches any VM. "
        'Send an `ETag` as you received it, with its quotes: `"3-730eefdc4dbea94c"`.',
        "schema": {**STRING, "pattern": ETAGS_PATTERN},
    },
    "If-None-Match": {
        "description": "Entity tags: the response is 304 if the VM still has one of them. "
        'Send an `ETag` as you received it, with its quotes: `"3-730eefdc4dbea94c"`.',
        "schema": {**STRING, "pattern": ETAGS_PATTERN},
    },
    "Last-Event-ID": {
        "description": "The `id` of the last event received: the stream starts with the event "
        "after it.",
        "schema": STRING,
    },
    "Prefer": {
        "description": "`wait=N` delays the response until the operation finishes, for at most N "
        "seconds (RFC 7240).",
        "schema": STRING,
    },
}

RESPONSE_HEADERS: dict[str, dict[str, Any]] = {
    "Age": {
        "description": "Seconds since vmapi read the data from the cloud.",
        "schema": INTEGER,
    },
    "Cache-Control": {
        "description": "`private, no-cache`: a cache must revalidate.",
        "schema": STRING,
    },
    "ETag": {"description": "Entity tag of the VM, for `If-Match`.", "schema": STRING},
    "Idempotent-Replayed": {
        "description": "Present if an earlier request with the same Idempotency-Key made the "
        "change.",
        "schema": {"const": "true"},
    },
    "Link": {"description": "URL of the next page (RFC 8288).", "schema": STRING},
    "Location": {"description": "URL path of the new VM.", "schema": STRING},
    "Operation-Location": {
        "description": "URL path of the operation that makes the change.",
        "schema": STRING,
    },
    "Preference-Applied": {
        "description": "The `wait` preference that the response honored.",
        "schema": STRING,
    },
    "RateLimit": {
        "description": "Remaining requests and seconds until the reset, by limit.",
        "schema": STRING,
    },
    "RateLimit-Policy": {
        "description": "The rate limits: quota and window in seconds.",
        "schema": STRING,
    },
    "Retry-After": {
        "description": "Seconds to wait before the next request.",
        "schema": INTEGER,
    },
    "WWW-Authenticate": {
        "description": "The authentication scheme, and the error of the token (RFC 6750).",
        "schema": STRING,
    },
}

READ_HEADERS = ("ETag", "Age", "Cache-Control")
CHANGE_HEADERS = ("Operation-Location", "Idempotent-Replayed", "Preference-Applied")
OUTCOME_HEADERS = ("Idempotent-Replayed", "Operation-Location")

PROBLEM_HEADERS: dict[str, tuple[str, ...]] = {
    "backend_unavailable": ("Retry-After",),
    "idempotency_in_progress": ("Retry-After", "Operation-Location"),
    "issuer_unavailable": ("Retry-After",),
    "name_taken": ("Operation-Location",),
    "precondition_failed": ("ETag",),
    "rate_limited": ("Retry-After", "RateLimit", "RateLimit-Policy"),
    "store_unavailable": ("Retry-After",),
    "unauthenticated": ("WWW-Authenticate",),
}
"""Headers of a problem response, by code."""

CHANGE_PROBLEM_HEADERS: dict[str, tuple[str, ...]] = {
    "backend_timeout": ("Operation-Location",),
    "store_unavailable": ("Retry-After", "Operation-Location"),
}
"""The same for changes: these entries replace those of `PROBLEM_HEADERS`."""
