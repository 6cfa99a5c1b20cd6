"""Pages of operations by VM."""

import pytest

from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory
from tests.support.query_plans import copy_rows, explain
from vmapi.domain.operation import OperationQuery
from vmapi.domain.pagination import PageRequest
from vmapi.store.database import Database
from vmapi.store.operations.pages import select_pages_by_vm
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.tables import operations


def add_operations(store: OperationRepository, make: OperationFactory, clock: Clock) -> None:
    """Add three finished operations of VM 1 and one of VM 2, in two projects."""
    for id, vm_id, project in [
        ("a", "1", "web"),
        ("b", "1", "web"),
        ("c", "2", "web"),
        ("d", "1", "db"),
    ]:
        store.add(make(id, vm_id=vm_id, project=project))
        store.save(make.finished(store.get(id)))
        clock.sleep(1)


@pytest.mark.parametrize("scope", [None, "web"])
def test_pages_by_vm_read_the_operations_of_these_vms_only(
    store: OperationRepository,
    make: OperationFactory,
    clock: Clock,
    database: Database,
    scope: str | None,
) -> None:
    operation = make.finished(make("0", vm_id="0", project="web"))
    query = select_pages_by_vm([str(number) for number in range(50)], 5, scope)
    if database.engine.dialect.name == "sqlite":
        # without statistics about the table
        assert "ix_operations_vm_id_created_at" in explain(database, query)
    store.add(make("0", vm_id="0", project="web"))
    store.save(operation)
    rows = [{"id": str(number), "vm_id": str(number // 2)} for number in range(1, 20_000)]
    copy_rows(database, operations, rows)
    assert "ix_operations_vm_id_created_at" in explain(database, query)


def test_pages_by_vm_are_those_of_the_list(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    add_operations(store, make, clock)
    for scope in (None, "web", "db"):
        for size in (1, 2, 3):
            pages = store.list_pages_by_vm(["1", "2", "3"], size, scope)
            assert list(pages) == ["1", "2", "3"]
            for vm_id, page in pages.items():
                listed = store.list_page(OperationQuery(vm_id=vm_id), PageRequest(1, size), scope)
                assert (page.items, page.total) == (listed.items, listed.total)
                assert page.next_position == listed.next_position
