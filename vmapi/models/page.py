"""Lists: what is asked for, and the page that answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from vmapi.models.lifecycle import Status
from vmapi.models.vm import VM

MAX_PAGE_SIZE = 1000
MAX_DEPTH = 10_000
"""The last item that `page` can reach: `page` x `page_size` may not go beyond."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is asked for; pages count from 1."""

    page: int = 1
    page_size: int = 50

    def of(self, items: Sequence[T]) -> "Page[T]":
        """Cut this part out of the whole list."""
        start = (self.page - 1) * self.page_size
        return Page(items[start : start + self.page_size], len(items), self)


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

    def matches(self, vm: VM) -> bool:
        """Tell whether a VM is asked for."""
        return (
            (not self.statuses or vm.status in self.statuses)
            and (self.name is None or _named(vm.name, self.name))
            and (self.flavor is None or vm.flavor == self.flavor)
            and (self.image is None or vm.image == self.image)
            and (self.created_after is None or vm.created_at > self.created_after)
            and (self.created_before is None or vm.created_at < self.created_before)
            and (self.updated_after is None or vm.updated_at > self.updated_after)
        )

    def select(self, vms: Sequence[VM]) -> list[VM]:
        """Return the VMs that are asked for, in order; equal ones are ordered by their id."""
        descending, key = self.sort.startswith("-"), self.sort.removeprefix("-")
        found = [vm for vm in vms if self.matches(vm)]
        return sorted(found, key=lambda vm: (getattr(vm, key), vm.id), reverse=descending)


def _named(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted
