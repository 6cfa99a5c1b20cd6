"""Query plan tests: an index answers each page of the audit trail."""

from dataclasses import asdict
from datetime import timedelta

import pytest

from tests.support.audit_chain import append_entries, build_entry
from tests.support.fake_clock import Clock
from tests.support.query_plans import copy_rows, explain
from vmapi.domain.audit import AuditQuery
from vmapi.store.audit import statements
from vmapi.store.database import Database
from vmapi.store.tables import audit_entries

SIZE = 5000
RARE = {
    "user": "alice",
    "project": "p-2",
    "action": "token_create",
    "vm_id": "vm-2",
    "request_id": "r-9",
    "token_id": "token-1",
    "outcome": "refused",
}
SLOW = ("Seq Scan", "TEMP B-TREE", "SCAN audit_entries", "Sort")


@pytest.fixture
def trails(database: Database, clock: Clock) -> Database:
    """A long audit trail with few matching entries."""
    append_entries(database, build_entry(clock(), 0))
    rows = [{"id": number, "at": clock() + timedelta(seconds=number)} for number in range(2, SIZE)]
    for row in rows[:: SIZE // 5]:
        row.update(RARE)
    copy_rows(database, audit_entries, rows)
    return database


@pytest.mark.parametrize("below", [None, SIZE // 2])
@pytest.mark.parametrize("name", RARE)
def test_rare_value_is_found_by_its_index(trails: Database, name: str, below: int | None) -> None:
    query = AuditQuery(**{name: RARE[name]})
    plan = explain(trails, statements.select_page(query, 51, below))
    assert f"ix_audit_entries_{name}_id" in plan
    # SQLite continues on the index, PostgreSQL sorts the few rows
    assert not [slow for slow in SLOW[:3] if slow in plan], plan


@pytest.mark.parametrize("below", [None, SIZE // 2])
def test_common_value_needs_no_sort(trails: Database, below: int | None) -> None:
    common = build_entry(Clock()(), 0)
    for name in ("user", "project", "action", "vm_id", "outcome"):
        query = AuditQuery(**{name: getattr(common, name)})
        plan = explain(trails, statements.select_page(query, 51, below))
        assert not [slow for slow in SLOW if slow in plan], plan


def test_unfiltered_page_reads_the_primary_key(trails: Database) -> None:
    for below in (None, SIZE // 2):
        plan = explain(trails, statements.select_page(AuditQuery(), 51, below))
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_short_time_range_is_found_by_its_index(trails: Database, clock: Clock) -> None:
    after = clock() + timedelta(seconds=100)
    query = AuditQuery(after=after, before=after + timedelta(seconds=5))
    assert "ix_audit_entries_at" in explain(trails, statements.select_page(query, 51, None))


def test_plans_cover_every_filter() -> None:
    assert {*RARE, "after", "before"} == set(asdict(AuditQuery()))
