"""Lists: what is asked for, and the page that answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

MAX_PAGE_SIZE = 1000
MAX_PAGED_ITEMS = 10_000
"""The last item that `page` can reach: `page` x `page_size` may not go beyond."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeysetPosition:
    """Where a walk through a list has come to: the item that it was shown last.

    `value` is what the list is sorted by. `total` is what the first page said.
    """

    value: str | datetime
    id: str
    total: int


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is asked for: a page, counted from 1, or what comes after a place.

    `asked` are the parameters that it was asked for with, but for the page.
    """

    page: int = 1
    page_size: int = 50
    after: KeysetPosition | None = None
    query_params: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def offset(self) -> int:
        """How many items are left out before it."""
        return 0 if self.after else (self.page - 1) * self.page_size


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `total` counts the whole, `end` is where it goes on, if it does."""

    items: Sequence[T]
    total: int
    request: PageRequest
    next_position: KeysetPosition | None = None
