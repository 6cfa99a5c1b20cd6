"""The views of the index: built where a thread may wait, changed with the VMs, and bounded."""

import pytest

from tests.support.vm_indexes import LIVE_STATUSES, build_large_index, can_read
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.domain.pagination import PageRequest
from vmapi.domain.selector import parse_selector
from vmapi.domain.vm import VMQuery
from vmapi.store.inventory import view_cache, vm_index, vm_view
from vmapi.store.inventory.vm_index import VMIndex
from vmapi.store.inventory.vm_view import IndexedVM


def test_views_of_selectors_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_index, "MAX_SORTED_VMS", 0)
    monkeypatch.setattr(view_cache, "MAX_VIEW_ENTRIES", 4 * vm_view.EMPTY_SELECTOR_VIEW_SIZE)
    index = build_large_index(10)
    queries = [VMQuery(selector=parse_selector(f"group!={group}")) for group in range(4)]
    for query in queries:
        assert index.find(query, PageRequest(), None)[1] > 0
    assert not can_read(index, queries[0])


def test_views_are_built_in_a_thread_that_may_wait() -> None:
    index, request = build_large_index(10), RepeatableRequest()

    def find() -> int:
        return index.find(VMQuery(), PageRequest(), None)[1]

    with pytest.raises(WouldBlock):
        request.serve_without_waiting(find)
    assert request.serve_again(find) == 10
    assert RepeatableRequest().serve_without_waiting(find) == 10


def test_many_changes_at_once_are_all_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_index, "MAX_MERGED_CHANGES", 3)
    index = build_large_index(10)
    index.find(VMQuery(sort="name"), PageRequest(), None)
    new_vms, _ = build_large_index(20).find(VMQuery(), PageRequest(), None)
    index.replace({vm.id: vm._replace(name="z") for vm in new_vms})
    vms, total = index.find(VMQuery(sort="name"), PageRequest(), None)
    assert (total, {vm.name for vm in vms}) == (20, {"z"})


def test_least_recently_used_view_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_cache, "MAX_VIEW_ENTRIES", 20 + 2 * vm_view.EMPTY_VIEW_SIZE)
    index = build_large_index(10)
    first, second, third = (VMQuery(statuses=frozenset({status})) for status in LIVE_STATUSES[:3])
    for query in (first, second, first):
        vms, _ = index.find(query, PageRequest(), None)
    # a change visits all views, and counts as no use
    index.replace({vms[0].id: vms[0]})
    index.find(third, PageRequest(), None)
    assert [can_read(index, query) for query in (first, second, third)] == [True, False, True]


def test_view_larger_than_the_cache_is_cached_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_cache, "MAX_VIEW_ENTRIES", 1)
    index = build_large_index(10)
    queries = [VMQuery(sort=sort) for sort in ("name", "created_at")]
    for query in queries:
        assert index.find(query, PageRequest(), None)[1] == 10
    assert [can_read(index, query) for query in queries] == [False, True]


def test_views_that_have_grown_too_large_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_cache, "MAX_VIEW_ENTRIES", 5 * vm_view.EMPTY_VIEW_SIZE)
    index, size = VMIndex([]), 2 * vm_view.EMPTY_VIEW_SIZE
    queries = [VMQuery(sort=sort) for sort in ("name", "created_at", "updated_at")]
    for query in queries:
        index.find(query, PageRequest(), None)
    new_vms, _ = build_large_index(size).find(VMQuery(), PageRequest(page_size=size), None)
    for vm in new_vms:
        index.replace({vm.id: vm})
    assert [can_read(index, query) for query in queries] == [False, False, True]
    assert index.find(VMQuery(), PageRequest(), None)[1] == size


@pytest.mark.parametrize("name", ["flavor", "image", "name"])
@pytest.mark.parametrize("sort", ["name", "-created_at"])
def test_texts_of_few_vms_build_no_view(name: str, sort: str) -> None:
    index = build_large_index(10)
    index.find(VMQuery(sort=sort, **{name: "any"}), PageRequest(), None)
    for number in range(20):
        assert can_read(index, VMQuery(sort=sort, **{name: f"x{number}"}))


def test_change_visits_no_view_of_another_project(monkeypatch: pytest.MonkeyPatch) -> None:
    index, visited = build_large_index(10), set()
    for scope in (None, "p0", "p1", "p2"):
        index.find(VMQuery(), PageRequest(), scope)
    matches = vm_view.Selection.matches

    def match_and_record(selection: vm_view.Selection, vm: IndexedVM) -> bool:
        visited.add(selection.project)
        return matches(selection, vm)

    monkeypatch.setattr(vm_view.Selection, "matches", match_and_record)
    vm = index.find(VMQuery(), PageRequest(), "p0")[0][0]
    index.replace({vm.id: vm._replace(project="p1")})
    assert visited == {None, "p0", "p1"}
