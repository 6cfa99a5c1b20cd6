"""Which part of a list a client asks for."""

from typing import Any

from marshmallow import Schema, ValidationError, validate

from vmapi.api.fields import Count
from vmapi.models.page import MAX_DEPTH, MAX_PAGE_SIZE, Paging


class PagingSchema(Schema):
    """Which part of a list."""

    page = Count(load_default=1, validate=validate.Range(1, MAX_DEPTH))
    page_size = Count(load_default=50, validate=validate.Range(1, MAX_PAGE_SIZE))

    def paging(self, data: dict[str, Any]) -> Paging:
        """Take the paging out of what was loaded. Raises marshmallow's ValidationError."""
        paging = Paging(data.pop("page"), data.pop("page_size"))
        if paging.page * paging.page_size > MAX_DEPTH:
            message = f"page x page_size must be at most {MAX_DEPTH}."
            raise ValidationError(message, "page")
        return paging
