"""Index of the live VMs in memory: pages and totals of lists without a query.

A view is the list of the VMs of one project, status and selector, in the order of one column. A
bisection finds the position of a page and the range of a filter in it. The first list that needs a
view builds it. Afterwards the view follows each change of its project.

Clients choose names, flavors, images and selectors freely. So these have views only if they select
many VMs. The VMs with a metadata key, in the order of its values, are a view too: a bisection finds
the few VMs with a value in it.

Cost: a page takes the logarithm of the number of VMs, plus its own size. In a list that is sorted
by another column, a filter of times adds the VMs that the page passes. To build a view visits each
VM once, and so does the total of two filters of times.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from math import inf
from operator import attrgetter, itemgetter
from typing import Any

from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.domain.access.project import Scope
from vmapi.domain.pagination import PageRequest
from vmapi.domain.selector import Requirement, Selector
from vmapi.domain.vm import VMQuery
from vmapi.store.clock import to_epoch_us
from vmapi.store.inventory.statements import name_range
from vmapi.store.inventory.view_cache import ViewCache
from vmapi.store.inventory.vm_view import (
    METADATA_COLUMN_PREFIX,
    IndexedVM,
    Range,
    Selection,
    View,
    is_in_range,
)

MAX_SORTED_VMS = 300
"""Up to so many VMs in the range of a filter are sorted for a page."""

WALK_FACTOR = 8
"""How often a page may pass the VMs that it would pass if a filter matched them evenly."""

TEXT_COLUMNS = ("name", "flavor", "image")
"""The columns of which a filter names a text: clients choose it freely."""

TEXTS_PER_VM = 6
"""The texts that the index remembers to share; each VM has five."""

MAX_MERGED_CHANGES = 500
"""Changes that the views follow; after more at once, building them again costs less."""


class VMIndex:
    """The live VMs of an inventory. Not thread-safe."""

    def __init__(self, vms: Iterable[Sequence[Any]]) -> None:
        self._texts: dict[str | None, str | None] = {}
        self._vms = {vm.id: vm for vm in map(self._share_texts, vms)}
        self._views = ViewCache()

    def __len__(self) -> int:
        return len(self._vms)

    def replace(self, vms: Mapping[str, IndexedVM | None]) -> None:
        """Replace VMs by id; None removes one."""
        if len(vms) > MAX_MERGED_CHANGES:
            self._views.clear()
        if len(self._texts) > TEXTS_PER_VM * (len(self._vms) + len(vms)):
            # most are texts that no VM has any more
            self._texts.clear()
        for vm_id, row in vms.items():
            previous, vm = self._vms.pop(vm_id, None), row and self._share_texts(row)
            if vm is not None:
                self._vms[vm_id] = vm
            self._views.replace(previous, vm)

    def find(
        self, query: VMQuery, request: PageRequest, scope: Scope
    ) -> tuple[Sequence[IndexedVM], int]:
        """Return the VMs of a page and one VM more, and the total of the list.

        Raises WouldBlock if a view is to be built.
        """
        column, ranges = query.sort.removeprefix("-"), _build_ranges(query)
        selection = Selection(scope, query.statuses, query.selector)
        if query.selector is not None and (selection, column) not in self._views:
            count, candidates = self._find_candidates(selection, builds_view=True)
            if count <= MAX_SORTED_VMS:
                in_ranges = filter(_range_filter(ranges), candidates)
                return _sort_page(selection, in_ranges, query, request)
        # times differ from request to request, texts that many VMs have do not
        texts = {name: ranges[name] for name in TEXT_COLUMNS if name in ranges and name != column}
        spans = [self._get_view(selection, name).find_span(texts[name]) for name in texts]
        if all(len(span) > MAX_SORTED_VMS for span in spans):
            ranges = {name: ranges[name] for name in ranges.keys() - texts.keys()}
            selection = replace(selection, ranges=frozenset(texts.items()))
        if ranges.keys() - {column}:
            return self._find_in_ranges(selection, ranges, query, request)
        view = self._get_view(selection, column)
        span = view.find_span(ranges[column]) if ranges else range(len(view.vms))
        places = view.order_span(span, query, request)
        return list(view.read(places[request.offset : _end(request)])), len(span)

    def _find_in_ranges(
        self,
        selection: Selection,
        ranges: Mapping[str, Range],
        query: VMQuery,
        request: PageRequest,
    ) -> tuple[Sequence[IndexedVM], int]:
        """Return what `find` returns, for ranges of columns by which the list is not sorted."""
        column, end = query.sort.removeprefix("-"), _end(request)
        view = self._get_view(selection, column)
        views = {name: self._get_view(selection, name) for name in ranges}
        spans = {name: views[name].find_span(values) for name, values in ranges.items()}
        smallest = min(spans, key=lambda name: len(spans[name]))
        is_shown, total = _range_filter(ranges), len(spans[smallest])
        if len(ranges) > 1:
            total = sum(map(is_shown, views[smallest].read(spans[smallest])))
        if total > MAX_SORTED_VMS:
            places = view.order_span(spans.get(column, range(len(view.vms))), query, request)
            passed = places[: MAX_SORTED_VMS + WALK_FACTOR * end * len(places) // total]
            page = list(islice(filter(is_shown, view.read(passed)), end))
            if len(page) == end or len(passed) == len(places):
                return page[request.offset :], total
        matching = filter(is_shown, views[smallest].read(spans[smallest]))
        return _sort_page(selection, matching, query, request)

    def _find_candidates(
        self, selection: Selection, *, builds_view: bool = False
    ) -> tuple[int, Iterable[IndexedVM]]:
        """Return VMs with all of a selection among them, and their number.

        With `builds_view` it builds the view of one more key if the views show many VMs.
        """
        candidates: tuple[int, Iterable[IndexedVM]] = (len(self._vms), self._vms.values())
        conditions = [
            (_build_key_view_key(selection.project, requirement.key), requirement.values)
            for requirement in (selection.selector.requirements if selection.selector else ())
            if not requirement.is_negated
        ]
        # the built views first
        for view_key, values in sorted(conditions, key=lambda pair: pair[0] not in self._views):
            is_built = view_key in self._views
            if candidates[0] <= MAX_SORTED_VMS or not (is_built or builds_view):
                break
            builds_view = builds_view and is_built
            candidates = min(candidates, self._get_view(*view_key).find(values), key=itemgetter(0))
        return candidates

    def _share_texts(self, row: Sequence[Any]) -> IndexedVM:
        """Return a VM of which the texts that many VMs have share one object."""
        vm_id, name, *texts, created_at, updated_at, revision = row
        shared = [self._texts.setdefault(text, text) for text in texts]
        return IndexedVM._make((vm_id, name, *shared, created_at, updated_at, revision))

    def _get_view(self, selection: Selection, column: str) -> View:
        view = self._views.find((selection, column))
        if view is None:
            raise_if_nonblocking()
            is_key_view = column.startswith(METADATA_COLUMN_PREFIX)
            _, candidates = (
                (0, self._vms.values()) if is_key_view else self._find_candidates(selection)
            )
            view = View(selection, column, candidates)
            self._views.add((selection, column), view)
        return view


def _build_key_view_key(project: Scope, key: str) -> tuple[Selection, str]:
    """Return the selection and the column of the VMs with a metadata key."""
    has_key = Selector(frozenset({Requirement(key)}))
    return Selection(project, selector=has_key), f"{METADATA_COLUMN_PREFIX}{key}"


def _sort_page(
    selection: Selection, vms: Iterable[IndexedVM], query: VMQuery, request: PageRequest
) -> tuple[Sequence[IndexedVM], int]:
    """Return the VMs of a page and one VM more, and the total, from a few VMs in any order."""
    view = View(selection, query.sort.removeprefix("-"), vms)
    places = view.order_span(range(len(view.vms)), query, request)
    return list(view.read(places[request.offset : _end(request)])), len(view.vms)


def _build_ranges(query: VMQuery) -> dict[str, Range]:
    """Return the ranges of a query, by column."""
    ranges: dict[str, Range] = {}
    if query.name is not None and (names := name_range(query.name)) is not None:
        ranges["name"] = names
    for column, text in (("flavor", query.flavor), ("image", query.image)):
        if text is not None:
            ranges[column] = (text, f"{text}\0")
    created_after, created_before = query.created_after, query.created_before
    if created_after is not None or created_before is not None:
        ranges["created_at"] = (_after(created_after), to_epoch_us(created_before))
    if query.updated_after is not None:
        ranges["updated_at"] = (_after(query.updated_after), None)
    return ranges


def _after(time: datetime | None) -> float:
    microseconds = to_epoch_us(time)
    return -inf if microseconds is None else microseconds + 1


def _range_filter(ranges: Mapping[str, Range]) -> Callable[[IndexedVM], bool]:
    checks = [(attrgetter(name), values) for name, values in ranges.items()]
    return lambda vm: all(is_in_range(get(vm), values) for get, values in checks)


def _end(request: PageRequest) -> int:
    """Return the place after a page and one VM more."""
    return request.offset + request.page_size + 1
