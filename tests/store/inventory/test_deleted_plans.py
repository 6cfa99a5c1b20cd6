"""Lists of deleted VMs read an index: their cost does not grow with the live VMs."""

from datetime import timedelta

import pytest

from tests.support.factories import T0, VM_1
from tests.support.query_plans import copy_rows, explain
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import PageRequest
from vmapi.domain.selector import parse_selector
from vmapi.domain.vm import VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import statements
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.tables import vms

SIZE = 5000
DELETED = frozenset({Status.DELETED})


@pytest.mark.parametrize("sort", ["name", "-created_at", "updated_at"])
@pytest.mark.parametrize("selector", [None, "env=prod"])
@pytest.mark.parametrize("scope", [None, "default"])
def test_list_of_deleted_vms_reads_their_index(
    database: Database, sort: str, selector: str | None, scope: str | None
) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([VM_1], inventory.observation_time())
    rows = [{"id": f"live-{number}", "name": f"web-{number}"} for number in range(SIZE)]
    rows += [{"id": f"old-{number}", "status": "DELETED", "deleted_at": T0} for number in range(9)]
    copy_rows(database, vms, rows)
    query = VMQuery(
        statuses=DELETED, sort=sort, selector=parse_selector(selector) if selector else None
    )
    filters = statements.build_filters(query, T0 - timedelta(days=1), scope)
    plan = explain(database, statements.select_page(sort, filters, PageRequest()))
    # by the time of the deletion, or by the status
    assert "ix_vms_deleted_at" in plan or "ix_vms_status" in plan, plan
    assert "SCAN vms" not in plan, plan


def test_deleted_vms_are_listed_for_a_time(database: Database) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([VM_1], inventory.observation_time())
    inventory.mark_deleted(VM_1.id, T0, inventory.observation_time())
    query = VMQuery(statuses=DELETED)
    for deleted_after, expected in ((T0 - timedelta(seconds=1), [VM_1.id]), (T0, [])):
        page = inventory.list_page(query, PageRequest(), deleted_after).page
        assert [vm.id for vm in page.items] == expected
