"""The headers of requests and answers, as the OpenAPI document has them."""

from typing import Any

IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Makes the change safe to repeat: under one key it is carried out once.",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
}
PREFER = {
    "in": "header",
    "name": "Prefer",
    "description": "`wait=N` holds the answer back until it is settled, for N seconds at most.",
    "schema": {"type": "string"},
}

OPERATION_LOCATION = {"Operation-Location": {"schema": {"type": "string"}}}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
RATE_LIMIT = {
    "RateLimit": {"schema": {"type": "string"}, "description": "what is left of each rate"},
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": "the rates"},
}
CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750"}}
LINK = {"Link": {"schema": {"type": "string"}, "description": "the next page (RFC 8288)"}}
OF_PROBLEMS: dict[str, dict[str, Any]] = {
    "backend_unavailable": RETRY_AFTER,
    "idempotency_in_progress": {**RETRY_AFTER, **OPERATION_LOCATION},
    "issuer_unavailable": RETRY_AFTER,
    "rate_limited": {**RETRY_AFTER, **RATE_LIMIT},
    "store_unavailable": RETRY_AFTER,
    "unauthenticated": CHALLENGE,
}
ETAG = {"ETag": {"schema": {"type": "string"}, "description": "of the VM as it is shown"}}
OF_REFUSED_CHANGES: dict[str, dict[str, Any]] = {
    "backend_timeout": OPERATION_LOCATION,
    "name_taken": OPERATION_LOCATION,
    "precondition_failed": ETAG,
    "store_unavailable": {**RETRY_AFTER, **OPERATION_LOCATION},
}
IDEMPOTENT_REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"const": "true"},
        "description": "where the request was made before, under the same Idempotency-Key",
    }
}
OF_OUTCOMES = {**IDEMPOTENT_REPLAYED, **OPERATION_LOCATION}
PREFERENCE_APPLIED = {
    "Preference-Applied": {"schema": {"type": "string"}, "description": "that of Prefer: wait"}
}
