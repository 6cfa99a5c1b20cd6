"""The index of the live VMs: it answers like a plain filter, and visits few VMs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product
from operator import attrgetter
from typing import Any
from weakref import WeakSet

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import T0, VM_1
from tests.support.inventory_model import filter_and_sort
from tests.support.selectors import metadata, selectors
from tests.support.vm_indexes import LIVE_STATUSES, build_large_index
from vmapi.concurrency.nonblocking import RepeatableRequest
from vmapi.domain.pagination import KeysetPosition, PageRequest
from vmapi.domain.selector import Selector, parse_selector
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.clock import to_epoch_us
from vmapi.store.inventory import vm_index, vm_view
from vmapi.store.inventory.vm_index import VMIndex
from vmapi.store.inventory.vm_view import IndexedVM

SORTS = ("created_at", "-created_at", "name", "-name", "updated_at", "-updated_at")
NAMES = ("a", "ab", "abc", "b", "ß", "\U0010ffff", "a\U0010ffff")

hours = st.integers(0, 3).map(lambda number: T0 + timedelta(hours=number))
vms = st.builds(
    lambda **observed: replace(VM_1, **observed),
    id=st.integers(0, 9).map(str),
    name=st.sampled_from(NAMES),
    flavor=st.sampled_from("ab"),
    image=st.sampled_from(["a", "b", None]),
    status=st.sampled_from(LIVE_STATUSES),
    created_at=hours,
    updated_at=hours,
    project=st.sampled_from(["one", "two", None]),
    metadata=metadata,
)
names = st.sampled_from(NAMES)
queries = st.builds(
    VMQuery,
    statuses=st.frozensets(st.sampled_from(LIVE_STATUSES), max_size=2),
    name=st.none() | names | names.map(lambda name: f"{name}*") | st.just("*"),
    flavor=st.none() | st.sampled_from("ab"),
    image=st.none() | st.sampled_from("ab"),
    created_after=st.none() | hours,
    created_before=st.none() | hours,
    updated_after=st.none() | hours,
    selector=st.none() | selectors().map(lambda drawn: parse_selector(drawn[0])),
    sort=st.sampled_from(SORTS),
)
changes = st.lists(st.tuples(vms, st.booleans()), max_size=6)
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def to_indexed(vm: VM) -> IndexedVM:
    times = to_epoch_us(vm.created_at) or 0, to_epoch_us(vm.updated_at) or 0
    texts = vm.flavor, vm.image or "", vm.status.value, vm.project, json.dumps(vm.metadata)
    return IndexedVM(vm.id, vm.name, *texts, *times, 1)


def follow_pages(index: VMIndex, query: VMQuery, scope: str | None, size: int) -> Iterator[str]:
    """Follow the cursors of a list; yield the ids."""
    column, request = query.sort.removeprefix("-"), PageRequest(1, size)
    while True:
        vms, total = index.find(query, request, scope)
        yield from (vm.id for vm in vms[:size])
        if len(vms) <= size:
            return
        value: Any = getattr(vms[size - 1], column)
        if column != "name":
            value = T0 + timedelta(microseconds=value - (to_epoch_us(T0) or 0))
        request = PageRequest(1, size, KeysetPosition(value, vms[size - 1].id, total))


@pytest.mark.parametrize("sorted_vms", [2, 100])
@EXAMPLES
@given(
    first=st.lists(vms, max_size=12),
    drawn_changes=changes,
    drawn_queries=st.lists(
        st.tuples(queries, st.sampled_from(["one", None])), min_size=1, max_size=4
    ),
)
def test_index_answers_like_a_plain_filter_after_changes(
    monkeypatch: pytest.MonkeyPatch,
    sorted_vms: int,
    first: Sequence[VM],
    drawn_changes: Sequence[tuple[VM, bool]],
    drawn_queries: Sequence[tuple[VMQuery, str | None]],
) -> None:
    monkeypatch.setattr(vm_index, "MAX_SORTED_VMS", sorted_vms)
    model = {vm.id: vm for vm in first}
    index = VMIndex(map(to_indexed, model.values()))
    for vm, is_deleted in [(None, False), *drawn_changes]:
        if vm is not None:
            model.pop(vm.id, None) if is_deleted else model.update({vm.id: vm})
            index.replace({vm.id: None if is_deleted else to_indexed(vm)})
        for query, scope in drawn_queries:
            visible = [vm for vm in model.values() if scope in (None, vm.project)]
            expected = [vm.id for vm in filter_and_sort(query, visible)]
            vms, total = index.find(query, PageRequest(2, 2), scope)
            assert ([vm.id for vm in vms], total) == (expected[2:5], len(expected))
            assert list(follow_pages(index, query, scope, 2)) == expected
    assert len(index) == len(model)


def at(number: int) -> Any:
    return T0 + timedelta(microseconds=number - (to_epoch_us(T0) or 0))


FILTERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "none": lambda _: {},
    "status": lambda _: {"statuses": frozenset({LIVE_STATUSES[1]})},
    "flavor": lambda _: {"flavor": "f1"},
    "image": lambda _: {"image": "i1"},
    "name": lambda _: {"name": "web-000101"},
    "prefix": lambda _: {"name": "web-0*"},
    "selector": lambda _: {"selector": parse_selector("group=1")},
    "created_after": lambda size: {"created_after": at(size // 10)},
    "created_before": lambda size: {"created_before": at(size // 2)},
    "updated_after": lambda size: {"updated_after": at(size // 2)},
}


@pytest.mark.parametrize("filter_name", FILTERS)
def test_page_of_many_vms_visits_as_few_as_of_few(
    monkeypatch: pytest.MonkeyPatch, filter_name: str
) -> None:
    visits: list[None] = []

    def counting_attrgetter(*names: str) -> Any:
        get = attrgetter(*names)

        def get_and_count(vm: IndexedVM) -> Any:
            visits.append(None)
            return get(vm)

        return get_and_count

    for module in (vm_index, vm_view):
        monkeypatch.setattr(module, "attrgetter", counting_attrgetter)
    monkeypatch.setattr(vm_index, "MAX_SORTED_VMS", 200)
    indexes = {size: build_large_index(size) for size in (1000, 8000)}
    for sort, scope in product(SORTS, (None, "p1")):
        counts = []
        for size, index in indexes.items():
            query = VMQuery(**FILTERS[filter_name](size), sort=sort)
            # builds the views
            index.find(query, PageRequest(), scope)
            visits.clear()
            vms, _ = index.find(query, PageRequest(page=3, page_size=10), scope)
            assert vms or filter_name == "name"
            counts.append(len(visits))
        # a bisection of 8 times as many takes 3 steps more: two for a range, one for a position
        assert counts[1] <= 1.3 * counts[0] + 9, (sort, scope)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner=50", range(500, 510)),
        ("group=0,owner=50", range(500, 510, 4)),
        ("owner in (50,51),owner!=51", range(500, 510)),
        ("owner=x", ()),
    ],
)
def test_list_by_a_selector_of_few_vms_visits_these_alone(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: Sequence[int]
) -> None:
    index = build_large_index(8000)
    for previous in ("owner=1", "group=1", "group=1,owner=2"):
        index.find(VMQuery(selector=parse_selector(previous)), PageRequest(), None)
    visited: list[Mapping[str, str]] = []
    matches = Selector.matches

    def match_and_count(selector: Selector, pairs: Mapping[str, str]) -> bool:
        visited.append(pairs)
        return matches(selector, pairs)

    monkeypatch.setattr(Selector, "matches", match_and_count)
    query = VMQuery(selector=parse_selector(text))
    # no view is built
    vms, total = RepeatableRequest().serve_without_waiting(
        lambda: index.find(query, PageRequest(), None)
    )
    assert {vm.id for vm in vms} == {f"{number:036}" for number in expected}
    assert total == len(expected)
    assert len(visited) <= 20


def test_changed_vms_share_the_texts_of_the_others() -> None:
    index = build_large_index(8)
    first, _ = index.find(VMQuery(), PageRequest(), None)
    # as the database returns them: equal, and not the same
    copy = IndexedVM(*json.loads(json.dumps(first[0])))
    index.replace({copy.id: copy})
    vms, _ = index.find(VMQuery(), PageRequest(), None)
    for name in ("flavor", "image", "status", "project"):
        assert getattr(vms[0], name) is getattr(vms[4], name)
    assert vms[0].metadata is first[0].metadata


class Text(str):
    """A text that a test can follow."""


def test_texts_of_earlier_changes_are_dropped() -> None:
    index = build_large_index(8)
    (vm, *_), _ = index.find(VMQuery(), PageRequest(), None)
    texts = WeakSet[Text]()
    for number in range(200):
        text = Text(json.dumps({"number": f"{number}"}))
        texts.add(text)
        index.replace({vm.id: vm._replace(metadata=text)})
    del text
    assert len(texts) <= vm_index.TEXTS_PER_VM * (8 + 1) + 1
