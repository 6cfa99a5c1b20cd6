"""Lists by selector: the same VMs from the index and from queries, on both databases."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import T0, VM_1
from tests.support.selectors import Condition, metadata, selectors
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import MAX_PAGE_SIZE, PageRequest
from vmapi.domain.selector import parse_selector
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import vm_index
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.tables import vms as table

WITH_DELETED = frozenset(Status)
FROM_QUERY = PageRequest(1, MAX_PAGE_SIZE + 1)
PROD = parse_selector("env=prod")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn_metadata=st.lists(metadata, max_size=8),
    drawn_selectors=st.lists(selectors(), min_size=1, max_size=6),
)
def test_list_by_selector_equals_a_plain_evaluation(
    database: Database,
    drawn_metadata: Sequence[Mapping[str, str]],
    drawn_selectors: Sequence[tuple[str, Sequence[Condition]]],
) -> None:
    inventory = InventoryRepository(database)
    with database.write() as connection:
        connection.execute(table.delete())
    vms = [
        replace(VM_1, id=f"{number:036}", metadata=pairs)
        for number, pairs in enumerate(drawn_metadata)
    ]
    inventory.save_observations(vms, inventory.observation_time())
    for text, conditions in drawn_selectors:
        query = VMQuery(selector=parse_selector(text), sort="created_at")
        expected = [vm for vm in vms if all(item.evaluate(vm.metadata) for item in conditions)]
        for statuses, request in (
            ((), PageRequest()),
            ((), FROM_QUERY),
            (WITH_DELETED, FROM_QUERY),
        ):
            statuses_query = replace(query, statuses=frozenset(statuses))
            page = inventory.list_page(statuses_query, request, T0).page
            assert (list(page.items), page.total) == (expected, len(expected))


def names(inventory: InventoryRepository) -> list[str]:
    """Return the names of the VMs with env=prod, from the index and from a query."""
    query = VMQuery(selector=PROD, sort="name")
    indexed, queried = (
        [vm.name for vm in inventory.list_page(query, request, T0).vms]
        for request in (PageRequest(), FROM_QUERY)
    )
    assert indexed == queried
    return indexed


def test_list_by_selector_follows_changes(database: Database) -> None:
    inventory, other = InventoryRepository(database), InventoryRepository(database)

    def save(*vms: VM) -> None:
        other.save_observations(vms, other.observation_time())

    prod = replace(VM_1, id="1", name="a", metadata={"env": "prod"})
    save(prod, replace(prod, id="2", name="b", metadata={"env": "dev"}))
    assert names(inventory) == ["a"]
    save(replace(prod, id="2", name="b"))
    assert names(inventory) == ["a", "b"]
    save(replace(prod, metadata={"env": "Prod"}))
    assert names(inventory) == ["b"]
    other.mark_deleted("2", T0, other.observation_time())
    assert names(inventory) == []


def test_second_list_by_selector_needs_no_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a view is built for many VMs
    monkeypatch.setattr(vm_index, "MAX_SORTED_VMS", 0)
    inventory, query = InventoryRepository(database), VMQuery(selector=PROD)
    inventory.save_observations(
        [replace(VM_1, metadata={"env": "prod"})], inventory.observation_time()
    )
    inventory.list_page(VMQuery(), PageRequest(), T0)

    def count_vms() -> int:
        return inventory.list_page(query, PageRequest(page_size=2), T0).page.total

    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(count_vms)
    assert request.serve_again(count_vms) == 1
    assert RepeatableRequest().serve_without_waiting(count_vms) == 1
