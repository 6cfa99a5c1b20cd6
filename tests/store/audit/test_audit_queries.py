"""Audit query tests: filters, pages and iteration, on both databases."""

from datetime import timedelta

import pytest

from tests.support.audit_chain import AUDIT_KEY, append_entries, build_chain, build_entry
from tests.support.fake_clock import Clock
from vmapi.domain.audit import AuditQuery, StoredEntry
from vmapi.store.audit import repository as audit
from vmapi.store.audit.repository import AuditRepository
from vmapi.store.database import Database

EVERY = AuditQuery()


def numbers(entries: "list[StoredEntry] | object") -> list[str | None]:
    return [stored.entry.operation_id for stored in entries]


@pytest.fixture
def trail(database: Database, clock: Clock) -> AuditRepository:
    """Nine entries, a second apart; every third is alice's, and the last ones differ."""
    at = clock()
    for number in range(1, 8):
        user = "alice" if number % 3 == 0 else "bob"
        append_entries(database, build_entry(at + timedelta(seconds=number), number, user=user))
    others = {"project": "p-2", "action": "start", "vm_id": "vm-2", "outcome": "accepted"}
    others |= {"token_id": "token-1"}
    append_entries(database, build_entry(at + timedelta(seconds=8), 8, **others, code=None))
    append_entries(
        database, build_entry(at + timedelta(seconds=9), 9, vm_id=None, operation_id=None)
    )
    return AuditRepository(database)


def test_list_newest_pages_from_newest_to_oldest(trail: AuditRepository) -> None:
    first = trail.list_newest(EVERY, 4)
    assert numbers(first) == [None, "op-8", "op-7", "op-6"]
    rest = trail.list_newest(EVERY, 100, before_id=first[-1].id)
    assert numbers(rest) == ["op-5", "op-4", "op-3", "op-2", "op-1"]
    assert trail.list_newest(EVERY, 100, before_id=rest[-1].id) == []


def test_new_entries_do_not_shift_later_pages(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    first = trail.list_newest(EVERY, 4)
    append_entries(database, build_entry(clock(), 10))
    assert numbers(trail.list_newest(EVERY, 2, before_id=first[-1].id)) == ["op-5", "op-4"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"user": "alice"}, ["op-6", "op-3"]),
        ({"project": "p-2"}, ["op-8"]),
        ({"action": "start"}, ["op-8"]),
        ({"vm_id": "vm-2"}, ["op-8"]),
        ({"request_id": "r-4"}, ["op-4"]),
        ({"token_id": "token-1"}, ["op-8"]),
        ({"outcome": "accepted"}, ["op-8"]),
        ({"user": "alice", "request_id": "r-3"}, ["op-3"]),
        ({"user": "alice", "request_id": "r-4"}, []),
        ({"user": "Alice"}, []),
        ({"user": "' OR 1=1 --"}, []),
    ],
    ids=str,
)
def test_filters_select_matching_entries(
    trail: AuditRepository, filters: dict[str, str], expected: list[str]
) -> None:
    assert numbers(trail.list_newest(AuditQuery(**filters), 100)) == expected
    assert numbers(trail.iterate(AuditQuery(**filters))) == expected[::-1]


def test_time_bounds_are_exclusive(trail: AuditRepository, clock: Clock) -> None:
    at = clock()
    after, before = at + timedelta(seconds=3), at + timedelta(seconds=6)
    assert numbers(trail.list_newest(AuditQuery(after=after, before=before), 9)) == ["op-5", "op-4"]
    nearly = after - timedelta(microseconds=1)
    assert numbers(trail.list_newest(AuditQuery(after=nearly, before=before), 9))[-1] == "op-3"
    assert trail.list_newest(AuditQuery(after=before, before=after), 9) == []


def test_stored_entry_equals_the_written_one(database: Database, clock: Clock) -> None:
    at = clock()
    trail = build_chain(database, at, 1)
    append_entries(database, build_entry(at, 2))
    older = build_entry(at + timedelta(days=1), 1)
    assert trail.list_newest(EVERY, 9) == [
        StoredEntry(2, None, build_entry(at, 2)),
        StoredEntry(1, 1, older),
    ]


def test_iterate_yields_all_entries_in_batches(
    trail: AuditRepository, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 3)
    walk = trail.iterate(EVERY)
    assert numbers([next(walk) for _ in range(3)]) == ["op-1", "op-2", "op-3"]
    # chaining, purging and inserting between two batches changes nothing
    trail.chain_pending(AUDIT_KEY)
    append_entries(database, build_entry(clock(), 10))
    assert numbers(walk) == ["op-4", "op-5", "op-6", "op-7", "op-8", None, "op-10"]
