"""A page of the trail is read along an index, whatever it is asked by."""

from dataclasses import asdict
from datetime import timedelta

import pytest

from tests.support.audit_chain import append_entries, build_entry
from tests.support.fake_clock import Clock
from tests.support.query_plans import copy_rows, explain
from vmapi.domain.audit import AuditQuery
from vmapi.store.audit import statements as trail
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
    """A long trail in which little is about what is looked for."""
    append_entries(database, build_entry(clock(), 0))
    rows = [{"id": number, "at": clock() + timedelta(seconds=number)} for number in range(2, SIZE)]
    for row in rows[:: SIZE // 5]:
        row.update(RARE)
    # each of them has every column: they are written in one statement
    common = asdict(build_entry(clock(), 0))
    copy_rows(
        database, audit_entries, [{name: common[name] for name in RARE} | row for row in rows]
    )
    return database


@pytest.mark.parametrize("below", [None, SIZE // 2])
@pytest.mark.parametrize("name", RARE)
def test_what_is_rare_is_found_along_its_index(
    trails: Database, name: str, below: int | None
) -> None:
    query = AuditQuery(**{name: RARE[name]})
    plan = explain(trails, trail.select_page(query, 51, below))
    assert f"ix_audit_entries_{name}_id" in plan
    # SQLite goes on along the index, PostgreSQL sorts the few
    assert not [slow for slow in SLOW[:3] if slow in plan], plan


@pytest.mark.parametrize("below", [None, SIZE // 2])
def test_what_is_common_is_not_sorted(trails: Database, below: int | None) -> None:
    common = build_entry(Clock()(), 0)
    for name in ("user", "project", "action", "vm_id", "outcome"):
        query = AuditQuery(**{name: getattr(common, name)})
        plan = explain(trails, trail.select_page(query, 51, below))
        assert not [slow for slow in SLOW if slow in plan], plan


def test_all_of_them_are_read_as_they_were_written(trails: Database) -> None:
    for below in (None, SIZE // 2):
        plan = explain(trails, trail.select_page(AuditQuery(), 51, below))
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_a_short_time_is_found_along_its_index(trails: Database, clock: Clock) -> None:
    after = clock() + timedelta(seconds=100)
    query = AuditQuery(after=after, before=after + timedelta(seconds=5))
    assert "ix_audit_entries_at" in explain(trails, trail.select_page(query, 51, None))


def test_every_filter_is_tried() -> None:
    assert {*RARE, "after", "before"} == set(asdict(AuditQuery()))
