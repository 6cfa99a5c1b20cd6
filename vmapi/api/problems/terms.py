"""The terms of problem texts in each API.

The table of problem types has the terms of the REST API. The details of errors have neither, except
for names of members of a request.
"""

import re
from enum import Enum
from typing import Any


class ClientApi(Enum):
    """The API that a client uses."""

    REST = "rest"
    GRAPHQL = "graphql"


GRAPHQL_TERMS = {
    "`GET /api/v1/flavors`": "the query `flavors`",
    "`GET /api/v1/images`": "the query `images`",
    "`GET /api/v1/networks`": "the query `networks`",
    "`GET /api/v1/vms/{id}/status`": "`vm(id) { task }`",
    "`GET /api/v1/vms/{id}`": "The query `vm(id)`",
    "`GET /api/v1/vms`": "The query `vms`",
    "GET /api/v1/flavors": "The query flavors",
    "GET /api/v1/images": "The query images",
    "GET /api/v1/networks": "The query networks",
    "GET /api/v1/operations": "The query operations",
    "GET /api/v1/vms lists all VMs.": "The query vms lists all VMs; its filter has a name.",
    "`ETag`": "`etag`",
    "`Idempotency-Key`": "`idempotencyKey`",
    "`Idempotent-Replayed: true`": "`replayed: true` in `extensions`",
    "`If-Match`": "`ifMatch`",
    "If-Match: ": "ifMatch: ",
    "`Retry-After`": "`retry_after`",
    "`ssh_keys`": "`sshKeys`",
    "poll the operation in `operation`": "poll `operation(id)` with `operation_id`",
    "The body is not valid JSON, or a header has an invalid value.": (
        "The body, the document or an argument is not valid, or the document exceeds a limit."
    ),
    "send one well-formed JSON object in UTF-8 and valid headers.": (
        "send a JSON object with a valid document within the limits."
    ),
}
"""The terms of the GraphQL API by those of the REST API."""

REST_TERM_PATTERN = re.compile("|".join(map(re.escape, GRAPHQL_TERMS)))
"""Longer terms come before those that they contain."""


def translate_terms(text: str, api: ClientApi) -> str:
    """Return a text of the table of problem types in the terms of an API."""
    if api is ClientApi.REST:
        return text
    return REST_TERM_PATTERN.sub(lambda match: GRAPHQL_TERMS[match[0]], text)


MEMBER_PATTERN = re.compile(r"^/(?:filter/)?([a-z]+(?:_[a-z]+)+)(?=/|$)")
"""A member of several words in a JSON pointer (RFC 6901), before keys of the client."""


def spell_members(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem with the members that its `errors` name in camel case, also in its texts."""
    errors = problem.get("errors", ())
    members = {match[1] for item in errors if (match := MEMBER_PATTERN.match(item["pointer"]))}
    if not members:
        return problem
    words = re.compile(rf"\b(?:{'|'.join(members)})\b")
    spelled = [
        {
            **item,
            "pointer": MEMBER_PATTERN.sub(_spell, item["pointer"]),
            "message": words.sub(_spell, item["message"]),
        }
        for item in errors
    ]
    return {**problem, "detail": words.sub(_spell, problem["detail"]), "errors": spelled}


def _spell(match: re.Match[str]) -> str:
    return re.sub("_(.)", lambda letter: letter[1].upper(), match[0])
