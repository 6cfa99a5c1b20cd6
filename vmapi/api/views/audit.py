"""/audit: the audit trail."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, request
from marshmallow import Schema, fields, post_load, validate

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import NulFreeString, QueryInteger, RFC3339Field, described
from vmapi.api.schemas.pagination import START_AGAIN_TEXT
from vmapi.domain.access.roles import Permission
from vmapi.domain.audit import AUDIT_OUTCOMES, AuditQuery, StoredEntry
from vmapi.domain.pagination import MAX_PAGE_SIZE
from vmapi.services.cursors import FORGED_CURSOR_REASON

NDJSON_MEDIA_TYPE = "application/x-ndjson"

blp = Blueprint("audit", "Log of all changes and refusals")


class AuditEntrySchema(Schema):
    """One entry of the audit trail; entries never change."""

    id = fields.Integer(required=True, **described("Number of the entry, in order of writing."))
    at = fields.AwareDateTime(required=True, **described("Time of the entry."))
    user = fields.String(required=True, **described("User that made the request."))
    project = fields.String(required=True, **described("Project of the user."))
    address = fields.String(required=True, **described("IP address of the client."))
    action = fields.String(
        required=True, **described("Action on a VM or a token, or the refused API call.")
    )
    vm_id = fields.String(
        required=True, allow_none=True, **described("Id of the VM; null without one.")
    )
    operation_id = fields.String(
        required=True, allow_none=True, **described("Id of the operation; null without one.")
    )
    request_id = fields.String(required=True, **described("Id of the request."))
    outcome = fields.String(
        required=True,
        validate=validate.OneOf(AUDIT_OUTCOMES),
        **described("Outcome of the action.", enum_name="AuditOutcome"),
    )
    code = fields.String(
        required=True, allow_none=True, **described("Problem code of a failure; null without one.")
    )
    token_id = fields.String(
        required=True,
        allow_none=True,
        **described("Id of the API token created, rotated or revoked; null without one."),
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        **described("Reason of the operator for the end of an operation; null without one."),
    )
    position = fields.Integer(
        required=True,
        allow_none=True,
        **described("Position in the hash chain; null until the entry is chained."),
    )


class AuditListSchema(Schema):
    """One page of audit entries, the newest first."""

    items = fields.List(fields.Nested(AuditEntrySchema), required=True, **described("The entries."))
    next = fields.String(
        required=True, allow_none=True, **described("URL of the next page; null on the last page.")
    )


class AuditQuerySchema(Schema):
    """Filters and pagination of the audit trail."""

    user = NulFreeString(validate=validate.Length(1, 255), **described("User of the request."))
    project = NulFreeString(validate=validate.Length(1, 64), **described("Project of the user."))
    action = NulFreeString(validate=validate.Length(1, 64), **described("Action or API call."))
    vm_id = NulFreeString(validate=validate.Length(1, 36), **described("Id of the VM."))
    request_id = NulFreeString(validate=validate.Length(1, 255), **described("Id of the request."))
    token_id = NulFreeString(validate=validate.Length(1, 36), **described("Id of the API token."))
    outcome = fields.String(
        validate=validate.OneOf(AUDIT_OUTCOMES),
        **described("Outcome of the action.", enum_name="AuditOutcome"),
    )
    after = RFC3339Field(**described("Entries written after this time."))
    before = RFC3339Field(**described("Entries written before this time."))
    page_size = QueryInteger(
        minimum=1,
        maximum=MAX_PAGE_SIZE,
        load_default=50,
        **described("Maximum number of entries in the page. Without it, 50."),
    )
    cursor = QueryInteger(
        error_messages={"invalid": f"{FORGED_CURSOR_REASON} {START_AGAIN_TEXT}"},
        **described("Cursor of the next page, as in `next`."),
    )

    @post_load
    def _build_query(self, data: dict[str, Any], **_: Any) -> tuple[AuditQuery, int, int | None]:
        if "vm_id" in data:
            data["vm_id"] = data["vm_id"].lower()
        page_size, cursor = data.pop("page_size"), data.pop("cursor", None)
        return AuditQuery(**data), page_size, cursor


@blp.get("/audit")
@blp.requires(Permission.AUDIT)
@blp.arguments(AuditQuerySchema(), location="query")
@blp.response(200, AuditListSchema(), example=examples.AUDIT_LIST, headers=["Link"])
@blp.problems("store_unavailable")
def list_audit(query: tuple[AuditQuery, int, int | None]) -> Response:
    """List audit entries

    With `Accept: application/x-ndjson`, the response has one entry in each line. The URL of the
    next page is then in the `Link` header only.
    """
    filters, page_size, cursor = query
    # one entry more than the page shows whether there is a next page
    entries = current_services().store.audit.list_newest(filters, page_size + 1, cursor)
    return _page_response(entries[:page_size], has_next=len(entries) > page_size)


def _page_response(entries: Sequence[StoredEntry], *, has_next: bool) -> Response:
    documents = [entry.to_document() for entry in entries]
    url = _next_url(entries[-1].id) if has_next else None
    headers = {"Link": f'<{url}>; rel="next"'} if url else {}
    media_type = request.accept_mimetypes.best_match(["application/json", NDJSON_MEDIA_TYPE])
    if media_type == NDJSON_MEDIA_TYPE:
        lines = b"".join(orjson.dumps(document) + b"\n" for document in documents)
        return Response(lines, headers=headers, mimetype=NDJSON_MEDIA_TYPE)
    return responses.json_response({"items": documents, "next": url}, headers=headers)


def _next_url(cursor: int) -> str:
    pairs = [(name, value) for name, value in request.args.items() if name != "cursor"]
    return f"{request.path}?{urlencode([*pairs, ('cursor', cursor)])}"
