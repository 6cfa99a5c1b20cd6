"""Pages of lists, by number or by keyset position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

MAX_PAGE_SIZE = 1000
MAX_PAGED_ITEMS = 10_000
"""The last item that numbered pages reach: beyond it, OFFSET gets slow."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeysetPosition:
    """The position after the last item of a page (keyset pagination)."""

    #: the value of the sort column of the item
    value: str | datetime
    id: str
    #: the total of the first page: later pages repeat it
    total: int


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A requested page: by number, counted from 1, or after a position."""

    page: int = 1
    page_size: int = 50
    after: KeysetPosition | None = None
    #: the query parameters of the request, without the page
    query_params: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)
    #: when the cursor of the request expires; None without a cursor
    expires_at: datetime | None = field(default=None, compare=False)

    @property
    def offset(self) -> int:
        """The number of items before the page."""
        return 0 if self.after else (self.page - 1) * self.page_size


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    #: the number of items in the whole list
    total: int
    request: PageRequest
    #: where the next page begins; None on the last page
    next_position: KeysetPosition | None = None
