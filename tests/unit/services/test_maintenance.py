"""The maintenance: it chains the audit trail, and purges expired rows."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.support.audit_chain import (
    AUDIT_KEY,
    append_entries,
    build_entry,
    chain_positions,
    list_rows,
)
from tests.support.maintenance_harness import DAY, MaintenanceHarness
from vmapi.domain.access.roles import Role
from vmapi.domain.lifecycle import Action
from vmapi.errors import StoreUnavailable
from vmapi.services.access.api_tokens import ApiTokenService
from vmapi.services.maintenance import PURGE_INTERVAL
from vmapi.store import events
from vmapi.store.audit import repository as audit
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.operations import repository as operations


@pytest.fixture
def harness() -> Iterator[MaintenanceHarness]:
    harness = MaintenanceHarness()
    yield harness
    harness.store.close()


@pytest.fixture
def keyless() -> Iterator[MaintenanceHarness]:
    harness = MaintenanceHarness(None)
    yield harness
    harness.store.close()


def test_run_chains_the_pending_entries(
    harness: MaintenanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 2)
    append_entries(harness.database, *(build_entry(harness.clock(), number) for number in range(5)))
    assert harness.run() == []
    assert chain_positions(harness.database) == [1, 2, 3, 4, 5]
    append_entries(harness.database, build_entry(harness.clock(), 6))
    harness.run()
    assert harness.store.audit.verify([AUDIT_KEY]).head.position == 6


def test_run_without_pending_entries_acquires_no_lease(harness: MaintenanceHarness) -> None:
    harness.run()
    assert LeaderLeases(harness.database).acquire("audit")


def test_run_chains_nothing_while_another_process_holds_the_lease(
    harness: MaintenanceHarness,
) -> None:
    other = harness.acquire_elsewhere("audit")
    append_entries(harness.database, build_entry(harness.clock(), 1))
    harness.run()
    assert chain_positions(harness.database) == [None]
    other.close()
    harness.run()
    assert chain_positions(harness.database) == [1]


def test_run_stops_chaining_when_the_lease_is_lost(
    harness: MaintenanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 1)
    append_entries(harness.database, *(build_entry(harness.clock(), number) for number in range(3)))
    chain_pending = harness.store.audit.chain_pending

    def lose_lease(key: str) -> int:
        chained = chain_pending(key)
        with harness.database.write() as connection:
            connection.execute(
                text("UPDATE leader_leases SET owner = 'another' WHERE name = 'audit'")
            )
        return chained

    monkeypatch.setattr(harness.store.audit, "chain_pending", lose_lease)
    harness.run()
    assert chain_positions(harness.database) == [1, None, None]


def test_run_without_a_key_chains_nothing(keyless: MaintenanceHarness) -> None:
    append_entries(keyless.database, build_entry(keyless.clock(), 1))
    keyless.run()
    assert chain_positions(keyless.database) == [None]
    assert LeaderLeases(keyless.database).acquire("audit")


def test_purge_removes_finished_operations_after_the_retention(
    harness: MaintenanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "OPERATION_PURGE_BATCH", 2)
    harness.store.operations.add(harness.new_operation("unfinished", Action.CREATE, None, "web"))
    for number in range(5):
        harness.add_finished(f"old-{number}")
    harness.clock.sleep(0.000_001)
    harness.add_finished("young")
    harness.clock.now += 30 * DAY
    logs = harness.run()
    assert harness.operation_ids() == {"unfinished", "young"}
    assert [(line["event"], line["operations"], line["audit_entries"]) for line in logs] == [
        ("purged expired rows", 5, 0)
    ]


def test_purge_of_a_create_keeps_the_reservation_of_the_name(harness: MaintenanceHarness) -> None:
    harness.store.operations.add(harness.new_operation("old", Action.CREATE, None, "web"))
    create = harness.store.operations.get("old")
    harness.store.operations.save(harness.new_operation.finished(create, vm_id="vm-1"))
    harness.clock.now += 31 * DAY
    harness.run()
    assert harness.operation_ids() == set()
    with pytest.raises(Exception, match=r"^VM vm-1 has the name web already\.$"):
        harness.store.operations.add(harness.new_operation("new", Action.CREATE, None, "web"))


def test_purge_of_a_large_audit_trail_takes_one_batch_a_run(
    harness: MaintenanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_PURGE_BATCH", 2)
    append_entries(harness.database, *(build_entry(harness.clock(), number) for number in range(5)))
    harness.clock.now += 366 * DAY
    logs = [harness.run() for _ in range(4)]
    assert [[line["audit_entries"] for line in lines] for lines in logs] == [[2], [2], [1], []]
    # the next purge is due after the interval
    append_entries(harness.database, build_entry(harness.clock() - 366 * DAY, 6))
    assert harness.run() == []


def test_purge_runs_at_the_start_and_then_every_hour(harness: MaintenanceHarness) -> None:
    harness.add_finished("1")
    harness.clock.now += 31 * DAY
    harness.run()
    assert harness.operation_ids() == set()
    harness.add_finished("2")
    harness.clock.now += 31 * DAY
    harness.monotonic += PURGE_INTERVAL - 0.001
    assert harness.run() == []
    assert harness.operation_ids() == {"2"}
    harness.monotonic += 0.001
    assert len(harness.run()) == 1
    assert harness.operation_ids() == set()
    harness.monotonic += PURGE_INTERVAL
    assert harness.run() == []


def test_purge_removes_events_after_the_retention(
    harness: MaintenanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SEQUENCE_BATCH", 2)
    for number in range(5):
        harness.add_finished(f"{number}")
    log = harness.store.events
    log.assign_sequences()
    with harness.database.write() as connection:
        day = {"day": DAY // timedelta(microseconds=1)}
        connection.execute(text("UPDATE events SET sequence = sequence - :day WHERE id <= 3"), day)
    # an event that no stream has read gets a sequence number, and stays
    harness.add_finished("unread")
    (line,) = harness.run()
    assert line["events"] == 3
    remaining = [event.operation.id for event in log.read_after(0) if event.operation]
    assert remaining == ["3", "4", "unread"]


def test_purge_is_skipped_while_another_process_holds_the_lease(
    harness: MaintenanceHarness,
) -> None:
    harness.add_finished("1")
    harness.clock.now += 31 * DAY
    other = harness.acquire_elsewhere("retention")
    assert harness.run() == []
    assert harness.operation_ids() == {"1"}
    other.close()
    harness.monotonic += PURGE_INTERVAL
    harness.run()
    assert harness.operation_ids() == set()


def test_purge_keeps_audit_entries_for_their_own_retention(harness: MaintenanceHarness) -> None:
    harness.add_finished("1")
    harness.clock.now += 365 * DAY
    harness.run()
    assert chain_positions(harness.database) == [1, 2]
    harness.clock.sleep(0.000_001)
    harness.monotonic += PURGE_INTERVAL
    (line,) = harness.run()
    assert (line["operations"], line["audit_entries"], line["log_level"]) == (0, 2, "info")
    verification = harness.store.audit.verify([AUDIT_KEY])
    assert (list_rows(harness.database), verification.first_position, verification.error) == (
        [],
        3,
        None,
    )


def test_purge_without_a_key_keeps_audit_entries_as_long(keyless: MaintenanceHarness) -> None:
    append_entries(
        keyless.database, build_entry(keyless.clock(), 1), build_entry(keyless.clock() + DAY, 2)
    )
    keyless.clock.now += 366 * DAY - timedelta(microseconds=1)
    (line,) = keyless.run()
    assert (line["operations"], line["audit_entries"]) == (0, 1)
    assert [row.operation_id for row in list_rows(keyless.database)] == ["op-2"]


def test_run_raises_when_the_store_is_unavailable(
    harness: MaintenanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bool:
        raise StoreUnavailable("no response")

    monkeypatch.setattr(harness.store.audit, "has_pending", fail)
    with pytest.raises(StoreUnavailable):
        harness.maintenance.run()


def test_purge_removes_api_tokens_as_late_as_their_audit_entries(
    harness: MaintenanceHarness,
) -> None:
    tokens = ApiTokenService(lambda: harness.store.api_tokens, harness.clock)
    _, token = tokens.create("ci", Role.VIEWER, "web", None, "me")
    assert tokens.revoke(token.id, "me")
    harness.clock.now += 365 * DAY
    harness.run()
    assert [state for _, state in tokens.list_tokens()] == ["revoked"]
    harness.clock.sleep(1)
    harness.monotonic += PURGE_INTERVAL
    (line,) = harness.run()
    assert (line["event"], line["api_tokens"]) == ("purged expired rows", 1)
    assert tokens.list_tokens() == []
