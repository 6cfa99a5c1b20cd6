"""Operation query tests: single operations, filters and pages."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import ALL_OPERATIONS, IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.errors import OperationNotFound
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

NOT_BEGUN = '"request_id": null, "started_at": null'


@pytest.mark.parametrize("id", ["x", "", "\0", "x" * 9999])
def test_get_refuses_an_unknown_id(store: OperationRepository, id: str) -> None:
    with pytest.raises(OperationNotFound, match=f"There is no operation {id}"):
        store.get(id)


def test_list_page_is_newest_first(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    store.add(make("b", vm_id="1"))
    store.add(make("a", vm_id="2"))
    clock.sleep(0.000_001)
    store.add(make("c", vm_id="3"))
    store.save(make.finished(store.get("c")))
    clock.now -= timedelta(seconds=9)
    store.add(make("d", vm_id="4"))
    assert [operation.id for operation in store.list_page(ALL_OPERATIONS, PageRequest()).items] == [
        "c",
        "b",
        "a",
        "d",
    ]


def test_list_leased_is_oldest_first(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    for id in "cab":
        store.add(make(id, vm_id=id))
        clock.sleep(1)
    assert [operation.id for operation in store.list_leased()] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        "action = 'resize'",
        "status = 'resting'",
        f"""steps = '[{{"verb": "resize", "state": "planned", {NOT_BEGUN}}}]'""",
        f"""steps = '[{{"verb": "stop", "state": "tried", {NOT_BEGUN}}}]'""",
        """steps = '[{"verb": "stop", "state": "planned"}]'""",
        """patch = '{"colour": "blue"}'""",
    ],
)
def test_unreadable_operation_does_not_hinder_others(
    store: OperationRepository, make: OperationFactory, database: Database, change: str
) -> None:
    for id in "abc":
        store.add(make(id, vm_id=id))
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE operations SET {change} WHERE id = 'b'")
    with capture_logs() as logs:
        assert [[operation.id for operation in store.list_leased()] for _ in range(2)] == [
            ["a", "c"]
        ] * 2
    assert [(line["event"], line["operation_id"], line["log_level"]) for line in logs] == [
        ("operation of another version cannot be read, not reconciled here", "b", "error")
    ]
    inventory = InventoryRepository(database)
    assert inventory.save_observations([replace(VM_1, id="b")], inventory.observation_time()) == {
        "b"
    }


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (OperationQuery(), "4321"),
        (OperationQuery(vm_id="vm"), "31"),
        (OperationQuery(vm_id="VM"), ""),
        (OperationQuery(action=Action.CREATE), "42"),
        (OperationQuery(status=OperationStatus.SUCCEEDED), "1"),
        (OperationQuery(status=OperationStatus.SUPERSEDED), ""),
        (OperationQuery(request_id="r"), "4321"),
        (OperationQuery(request_id="r", status=OperationStatus.SUCCEEDED), "1"),
        (OperationQuery(request_id="other"), ""),
        (OperationQuery(vm_id="vm", action=Action.STOP), "1"),
        (OperationQuery(key=IDEMPOTENCY_KEY), "2"),
        (OperationQuery(key=replace(IDEMPOTENCY_KEY, fingerprint="")), "2"),
        (OperationQuery(key=replace(IDEMPOTENCY_KEY, caller="you")), ""),
        (OperationQuery(key=IDEMPOTENCY_KEY, action=Action.STOP), ""),
    ],
)
def test_filters_select_matching_operations(
    store: OperationRepository,
    make: OperationFactory,
    clock: Clock,
    query: OperationQuery,
    ids: str,
) -> None:
    store.add(make("1"))
    store.save(make.finished(store.get("1")))
    clock.sleep(1)
    store.add(make("2", Action.CREATE, None, key=IDEMPOTENCY_KEY))
    clock.sleep(1)
    store.add(make("3", Action.START))
    clock.sleep(1)
    store.add(make("4", Action.CREATE, None))
    page = store.list_page(query, PageRequest())
    assert ("".join(operation.id for operation in page.items), page.total) == (ids, len(ids))


def test_numbered_pages_cover_all_operations(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    for number in range(7):
        store.add(make(str(number), vm_id=str(number % 2 or number)))
        store.save(make.finished(store.get(str(number))))
        clock.sleep(1)
    walked = []
    for number in (1, 2, 3, 4):
        page = store.list_page(ALL_OPERATIONS, PageRequest(number, 3))
        walked.append("".join(operation.id for operation in page.items))
        assert (page.total, page.next_position is not None) == (7, number < 3)
    assert walked == ["654", "321", "0", ""]
    odd = store.list_page(OperationQuery(vm_id="1"), PageRequest(1, 2))
    assert ([operation.id for operation in odd.items], odd.total) == (["5", "3"], 3)


def test_scan_decodes_unchanged_operations_once(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", vm_id="a"))
    store.add(make("2", vm_id="b"))
    first = store.list_leased()
    store.save(first[1].as_dispatching(make("3").created_at))
    second = store.list_leased()
    assert second[0] is first[0]
    assert second[1] == store.get("2")
    store.save(make.finished(second[0]))
    assert store.list_leased() == [second[1]]
