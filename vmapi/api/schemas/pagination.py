"""Which part of a list a client asks for, and where the list goes on."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import request
from marshmallow import Schema, ValidationError, fields, pre_load, validate

from vmapi.api.request.caller import walk
from vmapi.api.request.context import services
from vmapi.api.schemas.fields import Count
from vmapi.domain.pagination import MAX_DEPTH, MAX_PAGE_SIZE, Page, Paging
from vmapi.services.cursors import Cursor

TOO_DEEP = f"page x page_size must be at most {MAX_DEPTH}; next reaches what is beyond."
ALONE = "A cursor goes alone: it carries the whole query."


class Opened(fields.String):
    """A cursor, which is opened before the other parameters are read: it brings them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


class PagingSchema(Schema):
    """Which part of a list."""

    page = Count(load_default=1, validate=validate.Range(min=1), metadata={"maximum": MAX_DEPTH})
    page_size = Count(load_default=50, validate=validate.Range(1, MAX_PAGE_SIZE))
    cursor = Opened(metadata={"description": "as in `next`; goes alone"})

    @pre_load
    def _go_on(self, data: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        if "cursor" not in data:
            return data
        if others := [name for name in data if name != "cursor"]:
            raise ValidationError({name: [ALONE] for name in others})
        cursor = services().cursors.open(walk(), data["cursor"])
        return {**self._values(cursor), "cursor": cursor}

    def paging(self, data: dict[str, Any]) -> Paging:
        """Take the paging out of what was loaded. Raises marshmallow's ValidationError."""
        page, page_size = data.pop("page"), data.pop("page_size")
        if cursor := data.pop("cursor", None):
            return Paging(1, page_size, cursor.place, cursor.query)
        if page * page_size > MAX_DEPTH:
            raise ValidationError(TOO_DEEP, "page")
        asked = {name: values for name, values in request.args.lists() if name != "page"}
        return Paging(page, page_size, asked=asked)

    def _values(self, cursor: Cursor) -> dict[str, Any]:
        return {
            name: values if isinstance(self.fields.get(name), fields.List) else values[0]
            for name, values in cursor.query.items()
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


def members(page: Page[Any]) -> dict[str, Any]:
    """Return what a page says of itself."""
    paging, following = page.paging, None
    if page.end is not None:
        cursor = services().cursors.make(walk(), Cursor(paging.asked, page.end))
        following = f"{request.path}?{urlencode({'cursor': cursor})}"
    return {
        "total": page.total,
        "page": None if paging.after else paging.page,
        "page_size": paging.page_size,
        "next": following,
    }
