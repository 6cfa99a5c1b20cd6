"""Bulk operations on both databases: admitted as a whole, ended by their last operation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, select

from bench.statements import StatementCounts, recording
from tests.support.fake_clock import Clock
from tests.support.operation_factory import (
    IDEMPOTENCY_KEY,
    OperationFactory,
    run_concurrently,
    succeeds,
)
from tests.support.query_plans import copy_rows, explain
from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL
from vmapi.domain.access.project import Scope
from vmapi.domain.bulk import BulkItem, BulkOperation, BulkSummary
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationError, OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.errors import IdempotencyKeyReused, OperationNotFound
from vmapi.store.conflicts import IdempotencyKeyConflict, VMsInProgress
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.operations import statements
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.tables import IS_UNFINISHED, operations

VM_IDS = tuple(f"vm-{number}" for number in range(5))
REFUSED = BulkItem("gone", error=OperationError("vm_not_found", "There is no VM of this id."))

BulkFactory = Callable[..., BulkOperation]


@pytest.fixture
def make_bulk(make: OperationFactory, clock: Clock) -> BulkFactory:
    """Build a bulk operation of some VMs, and one refused VM."""

    def build(
        bulk_id: str, *vm_ids: str, action: Action = Action.STOP, **fields: object
    ) -> BulkOperation:
        parts = [
            make(f"{bulk_id} {vm_id}", action, vm_id, bulk_id=bulk_id, request_id=bulk_id)
            for vm_id in vm_ids
        ]
        items = tuple(BulkItem(str(part.vm_id), part.id) for part in parts)
        bulk = BulkOperation(
            id=bulk_id,
            action=action,
            items=(*items, REFUSED),
            created_at=clock(),
            requested_by="me",
            request_id=bulk_id,
            project="default",
            operations={part.id: part for part in parts},
        )
        return replace(bulk, **fields)

    return build


@pytest.fixture
def stores(connect: Callable[[], Database], clock: Clock) -> Iterator[list[OperationRepository]]:
    """The stores of four processes."""
    stores = [OperationRepository(connect(), clock) for _ in range(4)]
    yield stores
    for store in stores:
        store.close()


def ended_bulks(database: Database) -> list[tuple[str, OperationStatus]]:
    log = EventLog(database)
    log.assign_sequences()
    ended = [event.operation for event in log.read_after(0)]
    return [(bulk.id, bulk.status) for bulk in ended if isinstance(bulk, BulkSummary)]


def finish(store: OperationRepository, operation_id: str, make: OperationFactory) -> bool:
    store.save(make.finished(store.get(operation_id)))
    return True


def test_bulk_operation_is_stored_with_its_operations(
    store: OperationRepository, make_bulk: BulkFactory
) -> None:
    bulk = make_bulk("b", *VM_IDS, key=IDEMPOTENCY_KEY)
    store.bulk.add(bulk)
    assert store.bulk.get("b", None) == store.bulk.get("b", "default") == bulk
    assert store.bulk.find_by_key(replace(IDEMPOTENCY_KEY, fingerprint="")) == bulk
    page = store.list_page(OperationQuery(request_id="b"), PageRequest())
    assert {operation.vm_id for operation in page.items} == set(VM_IDS)
    for bulk_id, scope in (("b", "other"), ("c", None), ("b\0", None), ("", None)):
        with pytest.raises(OperationNotFound):
            store.bulk.get(bulk_id, scope)


@pytest.mark.parametrize("scope", [None, "default"])
def test_operations_of_a_request_and_of_a_bulk_are_found_by_an_index(
    store: OperationRepository, database: Database, make: OperationFactory, scope: Scope
) -> None:
    store.add(make("first"))
    rows = [
        {"id": f"{n}", "vm_id": f"{n}", "request_id": f"r-{n % 500}", "bulk_id": f"b-{n % 500}"}
        for n in range(5000)
    ]
    copy_rows(database, operations, rows)
    filters = statements.build_filters(OperationQuery(request_id="r-7"), scope)
    assert "ix_operations_request_id_created_at_id" in explain(
        database, statements.select_page_ids(filters, PageRequest())
    )
    unfinished = select(operations.c.id).where(operations.c.bulk_id == "b-7", IS_UNFINISHED)
    assert "ix_operations_bulk_id_finished_at" in explain(database, unfinished)


def test_busy_vm_refuses_the_whole_bulk(
    store: OperationRepository, make: OperationFactory, make_bulk: BulkFactory
) -> None:
    for vm_id, action in (("vm-1", Action.PAUSE), ("vm-3", Action.DELETE)):
        store.add(make(f"first {vm_id}", action, vm_id))
    with pytest.raises(VMsInProgress) as conflict:
        store.bulk.add(make_bulk("b", *VM_IDS))
    assert conflict.value.vm_ids == {"vm-1", "vm-3"}
    assert store.list_page(OperationQuery(request_id="b"), PageRequest()).total == 0
    with pytest.raises(OperationNotFound):
        store.bulk.get("b", None)
    store.bulk.add(make_bulk("b", "vm-0", "vm-2", "vm-4"))


def test_delete_supersedes_the_operations_of_its_vms(
    store: OperationRepository, make: OperationFactory, make_bulk: BulkFactory, database: Database
) -> None:
    store.bulk.add(make_bulk("stop", "vm-0", "vm-1"))
    store.add(make("other", Action.PAUSE, "vm-2"))
    store.bulk.add(make_bulk("delete", *VM_IDS, action=Action.DELETE))
    assert store.get("other").status is OperationStatus.SUPERSEDED
    assert ended_bulks(database) == [("stop", OperationStatus.FAILED)]
    counts = store.bulk.get("stop", None).summarize().counts
    assert (counts["superseded"], counts["refused"]) == (2, 1)
    assert not store.bulk.is_finished("delete")


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE])
def test_create_that_gets_its_vm_id_during_an_admission_is_found(
    store: OperationRepository, make_bulk: BulkFactory, database: Database, action: Action
) -> None:
    """A create without a VM id is searched by tag before its id can be searched."""
    statements: list[str] = []

    def record(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(database.engine, "before_cursor_execute", record)
    store.bulk.add(make_bulk("b", "vm-0", action=action))
    selects = [text for text in statements if "operations.finished_at IS NULL" in text]
    by_tag = next(i for i, text in enumerate(selects) if "vms.operation_id" in text)
    by_id = next(i for i, text in enumerate(selects) if "operations.vm_id IN" in text)
    assert by_tag < by_id


def test_key_is_bound_to_its_first_bulk_for_a_day(
    store: OperationRepository, make_bulk: BulkFactory, clock: Clock
) -> None:
    first = make_bulk("b", key=IDEMPOTENCY_KEY)
    store.bulk.add(first)
    clock.now += IDEMPOTENCY_KEY_TTL - timedelta(microseconds=1)
    second = make_bulk("c", key=IDEMPOTENCY_KEY)
    with pytest.raises(IdempotencyKeyConflict):
        store.bulk.add(second)
    for other in ({"caller": "you"}, {"project": "other"}, {"value": "K-1"}):
        assert store.bulk.find_by_key(replace(IDEMPOTENCY_KEY, **other)) is None
    clock.now += timedelta(microseconds=1)
    assert store.bulk.find_by_key(IDEMPOTENCY_KEY) is None
    third = make_bulk("c", key=IDEMPOTENCY_KEY)
    store.bulk.add(third)
    assert store.bulk.find_by_key(IDEMPOTENCY_KEY) == third
    assert store.bulk.get("b", None).key is None


def test_one_of_concurrent_requests_with_one_key_is_admitted(
    stores: list[OperationRepository], make_bulk: BulkFactory
) -> None:
    for round in range(10):
        key = replace(IDEMPOTENCY_KEY, value=f"k-{round}")
        new = [make_bulk(f"{round}-{index}", f"vm-{round}", key=key) for index in range(4)]
        assert (
            run_concurrently(
                4,
                lambda index, new=new: succeeds(
                    lambda: stores[index].bulk.add(new[index]),
                    IdempotencyKeyConflict,
                    VMsInProgress,
                ),
            )
            == 1
        )


def test_overlapping_bulks_admit_each_vm_once(
    stores: list[OperationRepository], make_bulk: BulkFactory
) -> None:
    for round in range(10):
        vm_ids = [f"{round}-{vm_id}" for vm_id in VM_IDS]
        orders = [vm_ids, vm_ids[::-1], vm_ids[2:] + vm_ids[:2], vm_ids[::2] + vm_ids[1::2]]
        new = [make_bulk(f"{round} {index}", *order) for index, order in enumerate(orders)]
        assert (
            run_concurrently(
                4,
                lambda index, new=new: succeeds(
                    lambda: stores[index].bulk.add(new[index]), VMsInProgress
                ),
            )
            == 1
        )


def test_concurrent_ends_of_the_last_operations_make_one_event(
    stores: list[OperationRepository],
    make: OperationFactory,
    make_bulk: BulkFactory,
    database: Database,
) -> None:
    bulks = [make_bulk(f"b-{round}", *VM_IDS[:4], items=()) for round in range(10)]
    for bulk in bulks:
        stores[0].bulk.add(bulk)
        ids = list(bulk.operations)
        ended = run_concurrently(4, lambda index, ids=ids: finish(stores[index], ids[index], make))
        assert ended == 4
    assert ended_bulks(database) == [(bulk.id, OperationStatus.SUCCEEDED) for bulk in bulks]


def test_purge_removes_old_finished_bulks(
    store: OperationRepository, make: OperationFactory, make_bulk: BulkFactory, clock: Clock
) -> None:
    store.bulk.add(make_bulk("running", "vm-0"))
    store.bulk.add(make_bulk("finished", "vm-1"))
    finish(store, "finished vm-1", make)
    clock.now += timedelta(days=1)
    store.bulk.add(make_bulk("new"))
    assert store.bulk.purge(clock()) == 1
    for bulk_id in ("running", "new"):
        assert store.bulk.get(bulk_id, None).id == bulk_id
    with pytest.raises(OperationNotFound):
        store.bulk.get("finished", None)


def test_engine_of_this_process_leases_the_operations(
    stores: list[OperationRepository], make_bulk: BulkFactory
) -> None:
    stores[0].bulk.add(make_bulk("b", *VM_IDS))
    assert len(stores[0].list_leased()) == len(VM_IDS)
    assert stores[1].list_leased() == []


def test_external_worker_may_lease_the_operations_at_once(
    connect: Callable[[], Database],
    clock: Clock,
    store: OperationRepository,
    make_bulk: BulkFactory,
) -> None:
    server = OperationRepository(connect(), clock, renews_idle=False)
    server.bulk.add(make_bulk("b", *VM_IDS))
    assert len(store.list_leased()) == len(VM_IDS)
    server.close()


def test_key_is_looked_up_by_one_statement(
    store: OperationRepository, make: OperationFactory
) -> None:
    # the first use prepares the database
    store.add(make("1"))
    with recording() as recorded:
        assert store.bulk.find_by_key(IDEMPOTENCY_KEY) is None
    assert recorded.counts == StatementCounts(reads=1, writes=0, disk_waits=0, statements=1)
    store.add(make("2", vm_id="other", key=IDEMPOTENCY_KEY))
    with pytest.raises(IdempotencyKeyReused):
        store.bulk.find_by_key(IDEMPOTENCY_KEY)
