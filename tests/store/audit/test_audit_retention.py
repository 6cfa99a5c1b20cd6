"""Retention tests: a checkpoint replaces purged entries, and the chain verifies."""

import pytest
from structlog.testing import capture_logs

from tests.support.audit_chain import (
    AUDIT_KEY,
    DAY,
    OTHER_AUDIT_KEY,
    append_entries,
    build_chain,
    build_entry,
    chain_head,
    chain_positions,
    count_checkpoints,
    list_rows,
    tamper,
)
from tests.support.fake_clock import Clock
from vmapi.domain.audit import ChainLink
from vmapi.store.audit import repository as audit
from vmapi.store.audit.repository import AuditRepository, ChainVerification
from vmapi.store.database import Database

UNSEALED = "the checkpoint at position {} is not signed with this key"


@pytest.fixture
def trail(database: Database, clock: Clock) -> AuditRepository:
    """Five chained entries, from one day after the time of the clock on."""
    return build_chain(database, clock(), 5)


def test_chain_continues_from_a_checkpoint(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    end = chain_head(database)
    assert trail.purge(clock() + 3 * DAY, [AUDIT_KEY]) == 2
    assert chain_positions(database) == [3, 4, 5]
    assert trail.verify([AUDIT_KEY]) == ChainVerification(3, end, 0)
    append_entries(database, build_entry(clock(), 6))
    trail.chain_pending(AUDIT_KEY)
    assert chain_positions(database) == [3, 4, 5, 6]
    assert trail.verify([AUDIT_KEY]) == ChainVerification(3, chain_head(database), 0)


def test_repeated_purges_leave_a_sound_chain(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    for days, purged in [(2, 1), (2, 0), (4, 2), (4, 0), (1, 0)]:
        assert trail.purge(clock() + days * DAY, [AUDIT_KEY]) == purged
        assert count_checkpoints(database) == 1
    assert trail.verify([AUDIT_KEY]) == ChainVerification(4, chain_head(database), 0)


def test_purge_removes_one_batch_at_a_time(
    trail: AuditRepository, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_PURGE_BATCH", 2)
    end = chain_head(database)
    for first, purged in [(3, 2), (4, 1), (4, 0)]:
        assert trail.purge(clock() + 4 * DAY, [AUDIT_KEY]) == purged
        assert trail.verify([AUDIT_KEY]) == ChainVerification(first, end, 0)
    assert [trail.purge(clock() + 9 * DAY, [AUDIT_KEY]) for _ in range(2)] == [2, 0]
    assert trail.verify([AUDIT_KEY]) == ChainVerification(6, end, 0)
    append_entries(database, *(build_entry(clock(), number) for number in range(3)))
    assert [trail.purge(clock() + DAY, []) for _ in range(3)] == [2, 1, 0]


def test_purge_stops_before_a_break(
    trail: AuditRepository, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_PURGE_BATCH", 2)
    tamper(database, "UPDATE audit_entries SET outcome = 'denied' WHERE chain_position = 4")
    error = trail.verify([AUDIT_KEY]).error
    assert error is not None
    assert [trail.purge(clock() + 9 * DAY, [AUDIT_KEY]) for _ in range(2)] == [2, 0]
    assert chain_positions(database) == [3, 4, 5]
    assert trail.verify([AUDIT_KEY]).error == error


def test_purge_keeps_recent_entries(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    assert trail.purge(clock() + DAY, [AUDIT_KEY]) == 0
    assert (len(list_rows(database)), count_checkpoints(database)) == (5, 0)
    assert trail.verify([AUDIT_KEY]).first_position == 1


def test_purge_can_remove_the_whole_chain(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    end = chain_head(database)
    for purged in (5, 0):
        assert trail.purge(clock() + 9 * DAY, [AUDIT_KEY]) == purged
        assert (list_rows(database), count_checkpoints(database)) == ([], 1)
        assert trail.verify([AUDIT_KEY]) == ChainVerification(6, end, 0)
    append_entries(database, build_entry(clock(), 6))
    trail.chain_pending(AUDIT_KEY)
    assert chain_positions(database) == [6]
    assert trail.verify([AUDIT_KEY]) == ChainVerification(6, chain_head(database), 0)


def test_purge_of_an_empty_trail_removes_nothing(database: Database, clock: Clock) -> None:
    for keys in ([AUDIT_KEY], []):
        assert AuditRepository(database).purge(clock(), keys) == 0
    assert count_checkpoints(database) == 0


def test_purge_stops_at_the_first_recent_entry(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    append_entries(database, build_entry(clock(), 6), build_entry(clock() + 9 * DAY, 7))
    trail.chain_pending(AUDIT_KEY)
    assert trail.purge(clock() + 3 * DAY, [AUDIT_KEY]) == 2
    assert chain_positions(database) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("position", [1, 2, 3, 5])
def test_anchor_before_or_after_the_checkpoint_verifies(
    trail: AuditRepository, database: Database, clock: Clock, position: int
) -> None:
    row = list_rows(database)[position - 1]
    trail.purge(clock() + 3 * DAY, [AUDIT_KEY])
    assert trail.verify([AUDIT_KEY], ChainLink(row.chain_position, row.mac)).error is None


def test_wrong_anchor_at_the_checkpoint_is_detected(trail: AuditRepository, clock: Clock) -> None:
    trail.purge(clock() + 3 * DAY, [AUDIT_KEY])
    assert trail.verify([AUDIT_KEY], ChainLink(2, "0" * 64)).error == (
        "the chain does not hold position 2 as noted"
    )


def test_purge_with_a_key_keeps_pending_entries(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    append_entries(database, build_entry(clock(), 6))
    assert trail.purge(clock() + 9 * DAY, [AUDIT_KEY]) == 5
    assert chain_positions(database) == [None]
    assert trail.chain_pending(AUDIT_KEY) == 1
    assert trail.verify([AUDIT_KEY]) == ChainVerification(6, chain_head(database), 0)


def test_purge_without_a_key_keeps_chained_entries(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    append_entries(database, *(build_entry(clock() + days * DAY, days) for days in (1, 2, 3)))
    assert trail.purge(clock() + 3 * DAY, []) == 2
    assert chain_positions(database) == [1, 2, 3, 4, 5, None]
    assert list_rows(database)[-1].at == clock() + 3 * DAY
    assert (trail.verify([AUDIT_KEY]).error, count_checkpoints(database)) == (None, 0)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("SET chain_position = 1", 1),
        ("SET chain_position = 4", 4),
        ("SET mac = 'f'", 2),
        ("SET signature = 'f'", 2),
        ("SET signature = ''", 2),
    ],
)
def test_changed_checkpoint_is_detected(
    trail: AuditRepository, database: Database, clock: Clock, change: str, at: int
) -> None:
    trail.purge(clock() + 3 * DAY, [AUDIT_KEY])
    tamper(database, f"UPDATE audit_checkpoints {change}")
    assert trail.verify([AUDIT_KEY]).error == UNSEALED.format(at)


def test_removed_checkpoint_is_detected(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    trail.purge(clock() + 3 * DAY, [AUDIT_KEY])
    tamper(database, "DELETE FROM audit_checkpoints")
    assert trail.verify([AUDIT_KEY]).error == "entry 3 does not follow from position 0"


def test_forged_checkpoint_is_detected(trail: AuditRepository, database: Database) -> None:
    end = list_rows(database)[2]
    seal = ChainLink(3, end.mac).sign(OTHER_AUDIT_KEY)
    tamper(database, "DELETE FROM audit_entries WHERE chain_position <= 3")
    forged = "INSERT INTO audit_checkpoints VALUES (3, :mac, :seal)"
    tamper(database, forged, mac=end.mac, seal=seal)
    assert trail.verify([AUDIT_KEY]).error == UNSEALED.format(3)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entries SET at = 0 WHERE chain_position <= 4",
        "UPDATE audit_entries SET code = NULL WHERE chain_position = 1",
        "DELETE FROM audit_entries WHERE chain_position = 1",
        "INSERT INTO audit_checkpoints"
        " SELECT chain_position, mac, mac FROM audit_entries WHERE id = 1",
    ],
)
def test_purge_does_not_hide_tampering(
    trail: AuditRepository, database: Database, clock: Clock, change: str
) -> None:
    tamper(database, change)
    before, error = list_rows(database), trail.verify([AUDIT_KEY]).error
    assert error is not None
    with capture_logs() as logs:
        purged = trail.purge(clock() + 3 * DAY, [AUDIT_KEY])
    assert (purged, list_rows(database), trail.verify([AUDIT_KEY]).error) == (0, before, error)
    assert [(line["event"], line["reason"], line["log_level"]) for line in logs] == [
        ("audit chain broken, nothing purged", error, "error")
    ]
