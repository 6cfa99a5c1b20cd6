"""Pagination of lists: the query parameters, the page members and the cursor of the next page."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import request
from marshmallow import Schema, ValidationError, fields, pre_load

from vmapi.api.request.caller import cursor_scope
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import QueryInteger
from vmapi.domain.pagination import MAX_PAGE_SIZE, MAX_PAGED_ITEMS, Page, PageRequest
from vmapi.services.cursors import Cursor, InvalidCursor

OFFSET_TOO_LARGE_DETAIL = (
    f"page x page_size must be at most {MAX_PAGED_ITEMS}. Follow next to reach later items."
)
START_AGAIN_TEXT = "Start again with the first page, and follow next without changes."
CURSOR_ALONE_DETAIL = "Must not be combined with cursor: the cursor contains the whole query."


class CursorField(fields.String):
    """A cursor, which `PageQuerySchema` decodes before it loads the other parameters."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


class PageQuerySchema(Schema):
    """Pagination parameters of a list."""

    page = QueryInteger(
        minimum=1,
        load_default=1,
        metadata={
            "maximum": MAX_PAGED_ITEMS,
            "description": "Number of the page, from 1. Without it, 1.",
        },
    )
    page_size = QueryInteger(
        minimum=1,
        maximum=MAX_PAGE_SIZE,
        load_default=50,
        metadata={"description": "Maximum number of items in the page. Without it, 50."},
    )
    cursor = CursorField(
        metadata={
            "description": "Cursor of the next page, as in `next`. Send no other parameter with it."
        }
    )

    @pre_load
    def _load_cursor(self, data: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        if "cursor" not in data:
            return data
        if others := [name for name in data if name != "cursor"]:
            raise ValidationError({name: [CURSOR_ALONE_DETAIL] for name in others})
        try:
            cursor = current_services().cursors.decode(cursor_scope(), data["cursor"])
        except InvalidCursor as error:
            raise ValidationError({"cursor": [f"{error} {START_AGAIN_TEXT}"]}) from None
        return {**self._query_values(cursor), "cursor": cursor}

    def pop_page_request(self, data: dict[str, Any]) -> PageRequest:
        """Remove the pagination from the loaded data. Raises marshmallow's ValidationError."""
        page, page_size = data.pop("page"), data.pop("page_size")
        if cursor := data.pop("cursor", None):
            return PageRequest(
                1, page_size, cursor.position, cursor.query_params, cursor.expires_at
            )
        if page * page_size > MAX_PAGED_ITEMS:
            raise ValidationError(OFFSET_TOO_LARGE_DETAIL, "page")
        query_params = {name: values for name, values in request.args.lists() if name != "page"}
        return PageRequest(page, page_size, query_params=query_params)

    def _query_values(self, cursor: Cursor) -> dict[str, Any]:
        return {
            name: values if isinstance(self.fields.get(name), fields.List) else values[0]
            for name, values in cursor.query_params.items()
        }


class PageSchema(Schema):
    """One page of a list."""

    total = fields.Integer(
        required=True, metadata={"description": "Number of items in the whole list."}
    )
    page = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Number of the page; null if the request has a cursor."},
    )
    page_size = fields.Integer(
        required=True, metadata={"description": "Maximum number of items in the page."}
    )
    next = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "URL of the next page; null on the last page."},
    )


def page_metadata(page: Page[Any]) -> dict[str, Any]:
    """Return the members of a page besides its items."""
    page_request, next_url = page.request, None
    if page.next_position is not None:
        cursor = Cursor(page_request.query_params, page.next_position)
        encoded = current_services().cursors.encode(cursor_scope(), cursor)
        next_url = f"{request.path}?{urlencode({'cursor': encoded})}"
    return {
        "total": page.total,
        "page": None if page_request.after else page_request.page,
        "page_size": page_request.page_size,
        "next": next_url,
    }
