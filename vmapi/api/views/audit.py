"""/audit: who has changed what."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Flask, Response, request
from marshmallow import Schema, fields, post_load, validate

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.headers import LINK_HEADER
from vmapi.api.openapi.permissions import permission_of
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import NulFreeString, QueryInteger, RFC3339Field
from vmapi.domain.audit import (
    MAX_ACTION_CHARS,
    OUTCOME_ACCEPTED,
    OUTCOME_REFUSED,
    AuditQuery,
    StoredEntry,
)
from vmapi.domain.lifecycle import Action
from vmapi.domain.pagination import MAX_PAGE_SIZE
from vmapi.domain.roles import Permission
from vmapi.services.cursors import INVALID_CURSOR_DETAIL

NDJSON_MEDIA_TYPE = "application/x-ndjson"
AUDIT_OUTCOMES = (OUTCOME_ACCEPTED, OUTCOME_REFUSED, "succeeded", "failed", "superseded")
TOKEN_ACTIONS = ("token_create", "token_revoke", "token_rotate")

blp = Blueprint("audit", "Who has changed what")


class AuditEntrySchema(Schema):
    """One line of the trail: it is never changed."""

    id = fields.Integer(required=True, metadata={"description": "in the order of writing"})
    at = fields.AwareDateTime(required=True)
    user = fields.String(required=True)
    project = fields.String(required=True)
    address = fields.String(required=True)
    action = fields.String(required=True)
    vm_id = fields.String(required=True, allow_none=True)
    operation_id = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True)
    outcome = fields.String(required=True)
    code = fields.String(required=True, allow_none=True)
    token_id = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "of the API token that was made, rotated or revoked"},
    )
    position = fields.Integer(
        required=True, allow_none=True, metadata={"description": "in the chain; null while open"}
    )


class AuditListSchema(Schema):
    """Entries of the trail, the newest first."""

    items = fields.List(fields.Nested(AuditEntrySchema), required=True)
    next = fields.String(required=True, allow_none=True)


class AuditQuerySchema(Schema):
    """Which entries."""

    user = NulFreeString(validate=validate.Length(1, 255))
    project = NulFreeString(validate=validate.Length(1, 64))
    action = NulFreeString(validate=validate.Length(1, 64))
    vm_id = NulFreeString(validate=validate.Length(1, 36))
    request_id = NulFreeString(validate=validate.Length(1, 255))
    token_id = NulFreeString(validate=validate.Length(1, 36))
    outcome = fields.String(validate=validate.OneOf(AUDIT_OUTCOMES))
    after = RFC3339Field()
    before = RFC3339Field()
    page_size = QueryInteger(load_default=50, validate=validate.Range(1, MAX_PAGE_SIZE))
    cursor = QueryInteger(
        error_messages={"invalid": INVALID_CURSOR_DETAIL},
        metadata={"description": "where a list goes on: take it from `next`"},
    )

    @post_load
    def _build_query(self, data: dict[str, Any], **_: Any) -> tuple[AuditQuery, int, int | None]:
        if "vm_id" in data:
            data["vm_id"] = data["vm_id"].lower()
        page_size, cursor = data.pop("page_size"), data.pop("cursor", None)
        return AuditQuery(**data), page_size, cursor


@blp.get("/audit")
@blp.requires(Permission.AUDIT)
@blp.takes(AuditQuerySchema(), location="query")
@blp.answers(200, AuditListSchema(), example=examples.AUDIT_LIST, headers=LINK_HEADER)
@blp.problems("store_unavailable")
def list_audit(query: tuple[AuditQuery, int, int | None]) -> Response:
    """List who has changed what

    With `Accept: application/x-ndjson` the entries come one a line, and `next` is in `Link` only.
    """
    wanted, page_size, cursor = query
    found = current_services().store.audit.list_newest(wanted, page_size + 1, cursor)
    return _page_response(found[:page_size], more=len(found) > page_size)


def audit_actions(app: Flask) -> list[str]:
    """Return the actions that an entry may have: of operations and tokens, and what was refused."""
    guarded = [
        name for name, view in app.view_functions.items() if permission_of(name, view) is not None
    ]
    asked = {name.rpartition(".")[2][:MAX_ACTION_CHARS] for name in guarded}
    return sorted({*map(str, Action), *TOKEN_ACTIONS, *asked})


def audit_document(kept: StoredEntry) -> dict[str, Any]:
    """Return an entry as it is shown."""
    shown = asdict(kept.entry) | {"at": render.format_timestamp(kept.entry.at)}
    return {"id": kept.id, **shown, "position": kept.position}


def _page_response(found: Sequence[StoredEntry], *, more: bool) -> Response:
    lines = [audit_document(kept) for kept in found]
    url = _next_url(found[-1].id) if more else None
    headers = {"Link": f'<{url}>; rel="next"'} if url else {}
    asked = request.accept_mimetypes.best_match(["application/json", NDJSON_MEDIA_TYPE])
    if asked == NDJSON_MEDIA_TYPE:
        text = b"".join(orjson.dumps(each) + b"\n" for each in lines)
        return Response(text, headers=headers, mimetype=NDJSON_MEDIA_TYPE)
    return render.json_response({"items": lines, "next": url}, headers=headers)


def _next_url(cursor: int) -> str:
    pairs = [(name, value) for name, value in request.args.items() if name != "cursor"]
    return f"{request.path}?{urlencode([*pairs, ('cursor', cursor)])}"
