"""Which part of a list a client asks for, and where the list goes on."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import request
from marshmallow import Schema, ValidationError, fields, pre_load, validate

from vmapi.api.request.caller import cursor_scope
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import QueryInteger
from vmapi.domain.pagination import MAX_PAGE_SIZE, MAX_PAGED_ITEMS, Page, PageRequest
from vmapi.services.cursors import Cursor

OFFSET_TOO_LARGE_DETAIL = (
    f"page x page_size must be at most {MAX_PAGED_ITEMS}; next reaches what is beyond."
)
CURSOR_ALONE_DETAIL = "A cursor goes alone: it carries the whole query."


class CursorField(fields.String):
    """A cursor, which is opened before the other parameters are read: it brings them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


class PageQuerySchema(Schema):
    """Which part of a list."""

    page = QueryInteger(
        load_default=1, validate=validate.Range(min=1), metadata={"maximum": MAX_PAGED_ITEMS}
    )
    page_size = QueryInteger(load_default=50, validate=validate.Range(1, MAX_PAGE_SIZE))
    cursor = CursorField(metadata={"description": "as in `next`; goes alone"})

    @pre_load
    def _load_cursor(self, data: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        if "cursor" not in data:
            return data
        if others := [name for name in data if name != "cursor"]:
            raise ValidationError({name: [CURSOR_ALONE_DETAIL] for name in others})
        cursor = current_services().cursors.decode(cursor_scope(), data["cursor"])
        return {**self._query_values(cursor), "cursor": cursor}

    def pop_page_request(self, data: dict[str, Any]) -> PageRequest:
        """Take the paging out of what was loaded. Raises marshmallow's ValidationError."""
        page, page_size = data.pop("page"), data.pop("page_size")
        if cursor := data.pop("cursor", None):
            return PageRequest(1, page_size, cursor.position, cursor.query_params)
        if page * page_size > MAX_PAGED_ITEMS:
            raise ValidationError(OFFSET_TOO_LARGE_DETAIL, "page")
        asked = {name: values for name, values in request.args.lists() if name != "page"}
        return PageRequest(page, page_size, query_params=asked)

    def _query_values(self, cursor: Cursor) -> dict[str, Any]:
        return {
            name: values if isinstance(self.fields.get(name), fields.List) else values[0]
            for name, values in cursor.query_params.items()
        }


class PageSchema(Schema):
    """A part of a list."""

    total = fields.Integer(required=True, metadata={"description": "of the whole list"})
    page = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null where a cursor was followed"}
    )
    page_size = fields.Integer(required=True)
    next = fields.String(
        required=True, allow_none=True, metadata={"description": "where the list goes on"}
    )


def page_metadata(page: Page[Any]) -> dict[str, Any]:
    """Return what a page says of itself."""
    paging, following = page.request, None
    if page.next_position is not None:
        cursor = current_services().cursors.encode(
            cursor_scope(), Cursor(paging.query_params, page.next_position)
        )
        following = f"{request.path}?{urlencode({'cursor': cursor})}"
    return {
        "total": page.total,
        "page": None if paging.after else paging.page,
        "page_size": paging.page_size,
        "next": following,
    }
