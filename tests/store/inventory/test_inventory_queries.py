"""Inventory query tests against a plain filter over a list of VMs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import HOUR, T0, VM_1
from tests.support.inventory_model import filter_and_sort
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.tables import vms as table

SORTS = ("created_at", "-created_at", "name", "-name", "updated_at", "-updated_at")
ODD = [
    "a",
    "A",
    "ab",
    "a%",
    "a_",
    "é",
    "e\u0301",
    "ß",
    "\ud7ff",
    "\ue000",
    "\U0010ffff",
    "\uffff",
    "*",
]
LONG_AGO = T0 - timedelta(days=30)

names = st.lists(st.sampled_from(ODD), min_size=1, max_size=3).map("".join)
hours = st.integers(0, 3).map(lambda number: T0 + timedelta(hours=number))
vms = st.builds(
    lambda **observed: replace(VM_1, **observed),
    name=names,
    flavor=st.sampled_from("ab"),
    image=st.sampled_from(["a", "A", None]),
    status=st.sampled_from(Status),
    created_at=hours,
    updated_at=hours,
)
maybe_time = st.none() | hours
queries = st.builds(
    VMQuery,
    statuses=st.frozensets(st.sampled_from(Status), max_size=2),
    name=st.none() | names | names.map(lambda name: f"{name}*") | st.just("*"),
    flavor=st.none() | st.sampled_from("ab"),
    image=st.none() | st.sampled_from("aA"),
    created_after=maybe_time,
    created_before=maybe_time,
    updated_after=maybe_time,
    sort=st.sampled_from(SORTS),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(observed=st.lists(vms, max_size=8), drawn_queries=st.lists(queries, min_size=1, max_size=8))
def test_list_page_equals_a_plain_filter(
    database: Database, observed: Sequence[VM], drawn_queries: Sequence[VMQuery]
) -> None:
    inventory = InventoryRepository(database)
    with database.write() as connection:
        connection.execute(table.delete())
    every = [replace(vm, id=f"{number:036}") for number, vm in enumerate(observed)]
    inventory.save_observations(every, inventory.observation_time())
    for query in drawn_queries:
        expected = filter_and_sort(query, every)
        listing = inventory.list_page(query, PageRequest(1, 100), LONG_AGO)
        assert (list(listing.vms), listing.page.total) == (expected, len(expected))
        second = inventory.list_page(query, PageRequest(2, 3), LONG_AGO)
        assert (list(second.vms), second.page.total) == (expected[3:6], len(expected))


@pytest.mark.parametrize(("hours", "total"), [(23, 1), (24, 0), (25, 0)])
def test_recently_deleted_vms_are_listed_by_status(
    database: Database, hours: int, total: int
) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([VM_1], inventory.observation_time())
    inventory.mark_deleted(VM_1.id, T0, inventory.observation_time())
    deleted = VMQuery(statuses=frozenset({Status.DELETED}))
    after = T0 + timedelta(hours=hours - 24)
    assert inventory.list_page(deleted, PageRequest(), after).page.total == total
    assert inventory.list_page(VMQuery(), PageRequest(), LONG_AGO).page.total == 0


def test_purge_deleted_removes_old_rows(database: Database) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([VM_1, replace(VM_1, id="2")], inventory.observation_time())
    inventory.mark_deleted(VM_1.id, T0, inventory.observation_time())
    assert inventory.purge_deleted(T0) == 0
    assert inventory.purge_deleted(T0 + timedelta(seconds=1)) == 1
    assert inventory.list_page(VMQuery(), PageRequest(), LONG_AGO).page.total == 1


@pytest.mark.parametrize(
    ("query", "is_match"),
    [
        (VMQuery(), True),
        (VMQuery(statuses=frozenset({Status.RUNNING, Status.ERROR})), True),
        (VMQuery(statuses=frozenset({Status.ERROR})), False),
        (VMQuery(name="web-1"), True),
        (VMQuery(name="web"), False),
        (VMQuery(name="WEB-1"), False),
        (VMQuery(name="web*"), True),
        (VMQuery(name="*"), True),
        (VMQuery(name="Web*"), False),
        (VMQuery(name="web-1*"), True),
        (VMQuery(name="web-12*"), False),
        (VMQuery(name="%"), False),
        (VMQuery(flavor="m1.tiny"), True),
        (VMQuery(flavor="m1"), False),
        (VMQuery(image="cirros"), True),
        (VMQuery(image="debian-12"), False),
        (VMQuery(created_after=T0 - HOUR), True),
        (VMQuery(created_after=T0), False),
        (VMQuery(created_before=T0 + HOUR), True),
        (VMQuery(created_before=T0), False),
        (VMQuery(updated_after=T0 - HOUR), True),
        (VMQuery(updated_after=T0), False),
        (VMQuery(name="web-1", flavor="m1.huge"), False),
    ],
)
def test_query_selects_matching_vms(database: Database, query: VMQuery, *, is_match: bool) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([VM_1], inventory.observation_time())
    assert inventory.list_page(query, PageRequest(), LONG_AGO).page.total == is_match


SORTED = {
    "created_at": "1234",
    "-created_at": "4321",
    "name": "1243",
    "-name": "3421",
    "updated_at": "2341",
    "-updated_at": "1432",
}


@pytest.mark.parametrize(("sort", "ids"), SORTED.items())
def test_list_page_sorts_by_every_column(database: Database, sort: str, ids: str) -> None:
    inventory = InventoryRepository(database)
    rows = (("1", "a", 0, 9), ("2", "b", 1, 0), ("3", "d", 2, 1), ("4", "b", 2, 1))
    vms = [
        replace(
            VM_1,
            id=id,
            name=name,
            created_at=T0 + c * HOUR,
            updated_at=T0 + u * HOUR,
        )
        for id, name, c, u in rows
    ]
    inventory.save_observations(vms[::-1], inventory.observation_time())
    vms = inventory.list_page(VMQuery(sort=sort), PageRequest(), LONG_AGO).vms
    assert "".join(vm.id for vm in vms) == ids
