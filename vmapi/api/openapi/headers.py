"""The headers of requests and answers, as the OpenAPI document has them."""

from typing import Any

IDEMPOTENCY_KEY_HEADER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Makes the change safe to repeat: under one key it is carried out once.",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
}
PREFER_HEADER = {
    "in": "header",
    "name": "Prefer",
    "description": "`wait=N` holds the answer back until it is settled, for N seconds at most.",
    "schema": {"type": "string"},
}

OPERATION_LOCATION_HEADER = {"Operation-Location": {"schema": {"type": "string"}}}
RETRY_AFTER_HEADER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
RATE_LIMIT_HEADERS = {
    "RateLimit": {"schema": {"type": "string"}, "description": "what is left of each rate"},
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": "the rates"},
}
CHALLENGE_HEADER = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750"}}
LINK_HEADER = {"Link": {"schema": {"type": "string"}, "description": "the next page (RFC 8288)"}}
PROBLEM_HEADERS: dict[str, dict[str, Any]] = {
    "backend_unavailable": RETRY_AFTER_HEADER,
    "idempotency_in_progress": {**RETRY_AFTER_HEADER, **OPERATION_LOCATION_HEADER},
    "issuer_unavailable": RETRY_AFTER_HEADER,
    "rate_limited": {**RETRY_AFTER_HEADER, **RATE_LIMIT_HEADERS},
    "store_unavailable": RETRY_AFTER_HEADER,
    "unauthenticated": CHALLENGE_HEADER,
}
ETAG_HEADER = {"ETag": {"schema": {"type": "string"}, "description": "of the VM as it is shown"}}
CHANGE_PROBLEM_HEADERS: dict[str, dict[str, Any]] = {
    "backend_timeout": OPERATION_LOCATION_HEADER,
    "name_taken": OPERATION_LOCATION_HEADER,
    "precondition_failed": ETAG_HEADER,
    "store_unavailable": {**RETRY_AFTER_HEADER, **OPERATION_LOCATION_HEADER},
}
IDEMPOTENT_REPLAYED_HEADER = {
    "Idempotent-Replayed": {
        "schema": {"const": "true"},
        "description": "where the request was made before, under the same Idempotency-Key",
    }
}
OUTCOME_HEADERS = {**IDEMPOTENT_REPLAYED_HEADER, **OPERATION_LOCATION_HEADER}
PREFERENCE_APPLIED_HEADER = {
    "Preference-Applied": {"schema": {"type": "string"}, "description": "that of Prefer: wait"}
}
