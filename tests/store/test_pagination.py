"""Pagination tests: an index answers each page, and changes hide nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import T0, VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory, run_concurrently
from tests.support.query_plans import copy_rows, explain
from vmapi.domain.lifecycle import Status
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import KeysetPosition, PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import statements as inventory_statements
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations import statements as operation_statements
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.signing_keys import SigningKeys
from vmapi.store.tables import operations, vms

SECOND = timedelta(seconds=1)
LONG_AGO = T0 - timedelta(days=30)
SIZE = 2000


def vm(number: int, **fields: Any) -> VM:
    at = T0 + fields.pop("at", number) * SECOND
    return replace(VM_1, id=f"{number:036}", created_at=at, **fields)


class PagedInventory:
    """An inventory that changes while a client reads its pages."""

    def __init__(self, inventory: InventoryRepository, query: VMQuery, size: int) -> None:
        self._inventory = inventory
        self._query = query
        self._paging: PageRequest | None = PageRequest(1, size)
        self.listed_ids: list[str] = []
        self.created_count = 0

    def create(self, at: int) -> None:
        """Create a VM `at` seconds after T0."""
        self.created_count += 1
        self._observe(vm(self.created_count, at=at))

    def change(self, number: int, at: int) -> None:
        """Change everything about a VM except its creation time."""
        if (snapshot := self._inventory.get(f"{number:036}")) is not None:
            self._observe(replace(snapshot.vm, updated_at=T0 + at * SECOND, name=f"n-{at}"))

    def delete(self, number: int) -> None:
        self._inventory.mark_deleted(f"{number:036}", T0, self._inventory.observation_time())

    def read_page(self) -> bool:
        """Read the next page; False after the last one."""
        if self._paging is None:
            return False
        page = self._inventory.list_page(self._query, self._paging, LONG_AGO).page
        self.listed_ids += [vm.id for vm in page.items]
        self._paging = (
            replace(self._paging, after=page.next_position) if page.next_position else None
        )
        return True

    def _observe(self, vm: VM) -> None:
        self._inventory.save_observations([vm], self._inventory.observation_time())


number = st.integers(1, 12)
offsets = st.integers(0, 3)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("create"), offsets),
        st.tuples(st.just("delete"), number),
        st.tuples(st.just("change"), number, offsets),
        st.tuples(st.just("read_page")),
    ),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    created_offsets=st.lists(offsets, max_size=8),
    drawn_changes=changes,
    size=st.integers(1, 4),
    sort=st.sampled_from(["created_at", "-created_at"]),
)
def test_keyset_pages_list_every_remaining_vm_once(
    database: Database,
    created_offsets: Sequence[int],
    drawn_changes: Sequence[Any],
    size: int,
    sort: str,
) -> None:
    with database.write() as connection:
        connection.execute(vms.delete())
    paged = PagedInventory(InventoryRepository(database), VMQuery(sort=sort), size)
    for at in created_offsets:
        paged.create(at)
    lasting_ids = {f"{number:036}" for number in range(1, len(created_offsets) + 1)}
    for method, *arguments in drawn_changes:
        getattr(paged, method)(*arguments)
        if method == "delete":
            lasting_ids.discard(f"{arguments[0]:036}")
    while paged.read_page():
        pass
    assert len(set(paged.listed_ids)) == len(paged.listed_ids)
    assert lasting_ids <= set(paged.listed_ids)


def test_new_operations_do_not_shift_later_pages(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    for number in range(5):
        # two with the same time
        clock.sleep(number % 2)
        store.add(make(f"{number}", vm_id=f"vm-{number}"))
    query, paging, listed_ids = (
        OperationQuery(status=OperationStatus.PENDING),
        PageRequest(1, 2),
        [],
    )
    while True:
        page = store.list_page(query, paging)
        listed_ids += [operation.id for operation in page.items]
        assert page.total == 5
        if page.next_position is None:
            break
        clock.sleep(1)
        store.add(make(f"late-{len(listed_ids)}", vm_id=f"late-{len(listed_ids)}"))
        paging = PageRequest(1, 2, page.next_position)
    assert listed_ids == ["4", "3", "2", "1", "0"]


def seconds(at: datetime) -> int:
    return (at - T0) // SECOND


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (VMQuery(), "ix_vms_created_at_id"),
        (VMQuery(sort="created_at"), "ix_vms_created_at_id"),
        (VMQuery(sort="name"), "ix_vms_name_id"),
        (VMQuery(sort="-name"), "ix_vms_name_id"),
        (VMQuery(sort="updated_at"), "ix_vms_updated_at_id"),
        (VMQuery(sort="-updated_at"), "ix_vms_updated_at_id"),
        (VMQuery(flavor="m1.tiny", created_after=T0), "ix_vms_created_at_id"),
        (VMQuery(statuses=frozenset({Status.RUNNING})), "created_at_id"),
    ],
)
def test_page_of_vms_is_read_by_an_index(database: Database, query: VMQuery, index: str) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([vm(0, name="web-0")], inventory.observation_time())
    times = [T0 + number * SECOND for number in range(1, SIZE)]
    rows = [
        {
            "id": f"{seconds(at):06}",
            "name": f"web-{seconds(at):06}",
            "created_at": at,
            "updated_at": at,
        }
        for at in times
    ]
    copy_rows(database, vms, rows)
    middle = times[SIZE // 2]
    value = f"web-{seconds(middle):06}" if "name" in query.sort else middle
    places = (None, KeysetPosition(value, f"{seconds(middle):06}", SIZE))
    for place, scope in product(places, (None, "default")):
        filters = inventory_statements.build_filters(query, LONG_AGO, scope)
        plan = explain(
            database,
            inventory_statements.select_page(query.sort, filters, PageRequest(1, 50, place)),
        )
        # a caller of one project may use the index of the project
        check(plan, index if scope is None else index.removeprefix("ix_vms_"))
        # it begins where the last page ended, not at the beginning
        assert place is None or ",id)" in plan or "ROW(" in plan, plan


def check(plan: str, index: str) -> None:
    assert index in plan, plan
    for slow in ("Sort", "Seq Scan", "TEMP B-TREE", "SCAN vms\n"):
        assert slow not in plan, plan


def test_page_of_operations_is_read_by_an_index(
    database: Database, store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    store.add(make("0", vm_id=None))
    rows = [
        {"id": f"{number}", "created_at": clock() + number * SECOND} for number in range(1, SIZE)
    ]
    copy_rows(database, operations, rows)
    place = KeysetPosition(clock() + SIZE // 2 * SECOND, f"{SIZE // 2}", SIZE)
    for after in (None, place):
        ids = operation_statements.select_page_ids([], PageRequest(1, 50, after))
        check(explain(database, ids), "ix_operations_newest")
        clauses = operation_statements.build_filters(OperationQuery(), "default")
        check(
            explain(
                database, operation_statements.select_page_ids(clauses, PageRequest(1, 50, after))
            ),
            "ix_operations_",
        )


def test_concurrent_processes_share_one_signing_key(connect: Callable[[], Database]) -> None:
    connect().ping()
    processes = [SigningKeys(connect()) for _ in range(4)]
    keys: list[str] = []
    run_concurrently(4, lambda index: bool(keys.extend(processes[index].get("cursor"))))
    assert len(set(keys)) == 1
    assert len(bytes.fromhex(keys[0])) == 32
    assert processes[0].get("other") != (keys[0],)
    assert SigningKeys(connect()).get("cursor") == processes[1].get("cursor") == (keys[0],)


def test_rotated_signing_key_stays_valid_until_the_next_rotation(
    connect: Callable[[], Database],
) -> None:
    connect().ping()
    first, second = SigningKeys(connect()), SigningKeys(connect())
    (old,) = first.get("cursor")
    assert second.get("cursor") == (old,)
    first.rotate("cursor")
    assert second.get("cursor") == (old,)
    previous, new = second.read("cursor")
    assert previous == old
    assert second.get("cursor") == (old, new)
    first.rotate("cursor")
    assert first.read("cursor")[0] == new
    assert old not in first.read("cursor")
