"""Lists: what is asked for, and the page that answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from vmapi.models.lifecycle import Status

MAX_PAGE_SIZE = 1000
MAX_DEPTH = 10_000
"""The last item that `page` can reach: `page` x `page_size` may not go beyond."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is asked for; pages count from 1."""

    page: int = 1
    page_size: int = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `total` counts the whole."""

    items: Sequence[T]
    total: int
    paging: Paging

    @property
    def has_next(self) -> bool:
        """Whether the list goes on, as far as `page` can reach."""
        end = self.paging.page * self.paging.page_size
        return end < self.total and end + self.paging.page_size <= MAX_DEPTH


@dataclass(frozen=True, slots=True)
class VMQuery:
    """Which VMs are asked for, and in which order. A `name` ending in `*` is a prefix."""

    statuses: frozenset[Status] = frozenset()
    name: str | None = None
    flavor: str | None = None
    image: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    sort: str = "-created_at"
