"""Views of the live VMs: selected VMs in the order of one column, in memory."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from vmapi.domain.access.project import Scope
from vmapi.domain.pagination import KeysetPosition, PageRequest
from vmapi.domain.selector import Selector
from vmapi.domain.vm import VMQuery
from vmapi.store.clock import to_epoch_us

EMPTY_VIEW_SIZE = 200
"""The size of a view without VMs, in entries."""

EMPTY_SELECTOR_VIEW_SIZE = 20_000
"""The same with a selector: clients choose it freely, and each change visits each view."""

METADATA_COLUMN_PREFIX = "metadata."
"""The start of the column of a view in the order of the values of a metadata key."""


class IndexedVM(NamedTuple):
    """The columns of a live VM by which lists filter and sort.

    Times are in microseconds, metadata is JSON text. `image` is empty for a VM without an image.
    """

    id: str
    name: str
    flavor: str
    image: str
    status: str
    project: str | None
    metadata: str
    created_at: int
    updated_at: int
    revision: int


Range = tuple[Any, Any]
"""The first value of a range and the first after it; None without an end."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The VMs with these values."""

    project: Scope
    statuses: frozenset[str] = frozenset()
    selector: Selector | None = None
    ranges: frozenset[tuple[str, Range]] = frozenset()
    """Ranges by column."""

    def matches(self, vm: IndexedVM) -> bool:
        """Return whether a VM is one of them."""
        return (
            self.project in (None, vm.project)
            and (not self.statuses or vm.status in self.statuses)
            and all(is_in_range(getattr(vm, name), values) for name, values in self.ranges)
            and (self.selector is None or self.selector.matches(orjson.loads(vm.metadata)))
        )


class View:
    """The selected VMs, ordered by a column and the id."""

    def __init__(self, selection: Selection, column: str, vms: Iterable[IndexedVM]) -> None:
        self.selection = selection
        self.sort_key = _build_sort_key(column)
        self.vms = sorted(filter(selection.matches, vms), key=self.sort_key)

    def __len__(self) -> int:
        has_selector = self.selection.selector is not None
        return len(self.vms) + (EMPTY_SELECTOR_VIEW_SIZE if has_selector else EMPTY_VIEW_SIZE)

    def replace(self, previous: IndexedVM | None, vm: IndexedVM | None) -> int:
        """Remove a VM, and add its successor, where they match; return the growth."""
        growth = 0
        if previous is not None and self.selection.matches(previous):
            del self.vms[bisect_left(self.vms, self.sort_key(previous), key=self.sort_key)]
            growth -= 1
        if vm is not None and self.selection.matches(vm):
            insort(self.vms, vm, key=self.sort_key)
            growth += 1
        return growth

    def read(self, places: Iterable[int]) -> Iterator[IndexedVM]:
        """Return the VMs at these places."""
        return map(self.vms.__getitem__, places)

    def find(self, values: Iterable[str] | None) -> tuple[int, Iterator[IndexedVM]]:
        """Return the VMs with one of these values of the column, and their number.

        None stands for any value.
        """
        spans = [range(len(self.vms))]
        if values is not None:
            spans = [self.find_span((value, f"{value}\0")) for value in values]
        return sum(map(len, spans)), self.read(chain.from_iterable(spans))

    def find_span(self, value_range: Range) -> range:
        """Return the places of the VMs with a value of the column in a range."""
        first, end = value_range
        start = bisect_left(self.vms, (first,), key=self.sort_key)
        stop = len(self.vms) if end is None else bisect_left(self.vms, (end,), key=self.sort_key)
        return range(start, max(start, stop))

    def order_span(self, span: range, query: VMQuery, request: PageRequest) -> range:
        """Return the places of a span after the position of a request, in the order of a query."""
        start, stop, is_descending = span.start, span.stop, query.sort.startswith("-")
        if request.after is not None:
            position = (_sort_value(request.after), request.after.id)
            if is_descending:
                stop = min(stop, bisect_left(self.vms, position, key=self.sort_key))
            else:
                start = max(start, bisect_right(self.vms, position, key=self.sort_key))
        return range(stop - 1, start - 1, -1) if is_descending else range(start, stop)


def is_in_range(value: Any, value_range: Range) -> bool:
    """Return whether a value is in a range."""
    first, end = value_range
    return bool(first <= value) and (end is None or bool(value < end))


def _build_sort_key(column: str) -> Callable[[IndexedVM], Any]:
    if not column.startswith(METADATA_COLUMN_PREFIX):
        return attrgetter(column, "id")
    key = column.removeprefix(METADATA_COLUMN_PREFIX)
    return lambda vm: (orjson.loads(vm.metadata)[key], vm.id)


def _sort_value(position: KeysetPosition) -> Any:
    value = position.value
    return to_epoch_us(value) if isinstance(value, datetime) else value
