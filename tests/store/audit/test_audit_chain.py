"""Hash chain tests: entries are linked in order, and a sound chain verifies."""

import pytest

from tests.support.audit_chain import (
    AUDIT_KEY,
    OTHER_AUDIT_KEY,
    append_entries,
    build_chain,
    build_entry,
    chain_head,
    chain_positions,
    list_rows,
)
from tests.support.fake_clock import Clock
from vmapi.domain.audit import ChainLink
from vmapi.store.audit import repository as audit
from vmapi.store.audit.repository import AuditRepository, ChainVerification
from vmapi.store.database import Database


@pytest.fixture
def trail(database: Database) -> AuditRepository:
    return AuditRepository(database)


def test_verify_accepts_an_empty_trail(trail: AuditRepository) -> None:
    assert not trail.has_pending()
    assert trail.chain_pending(AUDIT_KEY) == 0
    assert trail.verify([AUDIT_KEY]) == ChainVerification(1, ChainLink(), 0)
    assert trail.verify([AUDIT_KEY], ChainLink()) == ChainVerification(1, ChainLink(), 0)


def test_entries_are_pending_until_they_are_chained(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    append_entries(database, build_entry(clock(), 1), build_entry(clock(), 2))
    assert trail.has_pending()
    assert trail.verify([AUDIT_KEY]) == ChainVerification(1, ChainLink(), 2)
    assert trail.chain_pending(AUDIT_KEY) == 2
    assert not trail.has_pending()
    assert chain_positions(database) == [1, 2]
    assert trail.verify([AUDIT_KEY]) == ChainVerification(1, chain_head(database), 0)
    assert trail.chain_pending(AUDIT_KEY) == 0


def test_chain_pending_continues_at_the_head(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    build_chain(database, clock(), 2)
    before = list_rows(database)
    append_entries(database, build_entry(clock(), 3))
    assert trail.chain_pending(AUDIT_KEY) == 1
    assert list_rows(database)[:2] == before
    assert chain_positions(database) == [1, 2, 3]
    assert trail.verify([AUDIT_KEY]).error is None


def test_chain_of_a_rotated_key_verifies_with_both_keys_only(
    trail: AuditRepository, database: Database, clock: Clock
) -> None:
    build_chain(database, clock(), 2)
    append_entries(database, build_entry(clock(), 3))
    trail.chain_pending(OTHER_AUDIT_KEY)
    assert trail.verify([OTHER_AUDIT_KEY, AUDIT_KEY]).error is None
    assert trail.verify([AUDIT_KEY]).error == "entry 3 does not follow from position 2"
    assert trail.verify([OTHER_AUDIT_KEY]).error == "entry 1 does not follow from position 0"


def test_chain_pending_links_batches_oldest_first(
    trail: AuditRepository, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 2)
    append_entries(database, *(build_entry(clock(), number) for number in range(5)))
    for closed, there in [
        (2, [1, 2, None, None, None]),
        (2, [1, 2, 3, 4, None]),
        (1, [1, 2, 3, 4, 5]),
    ]:
        assert trail.chain_pending(AUDIT_KEY) == closed
        assert chain_positions(database) == there
    assert trail.verify([AUDIT_KEY]) == ChainVerification(1, chain_head(database), 0)


def test_equal_entries_have_different_macs(database: Database, clock: Clock) -> None:
    append_entries(database, build_entry(clock(), 1), build_entry(clock(), 1))
    AuditRepository(database).chain_pending(AUDIT_KEY)
    assert len({row.mac for row in list_rows(database)}) == 2


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_verify_accepts_every_earlier_head_as_anchor(
    database: Database, clock: Clock, position: int
) -> None:
    trail = build_chain(database, clock(), 3)
    anchors = [
        ChainLink(),
        *(ChainLink(row.chain_position, row.mac) for row in list_rows(database)),
    ]
    assert trail.verify([AUDIT_KEY], anchors[position]) == ChainVerification(1, anchors[3], 0)


def test_mac_distinguishes_an_empty_member_from_a_missing_one(
    database: Database, clock: Clock
) -> None:
    append_entries(
        database,
        build_entry(
            clock(), 1, vm_id=None, operation_id=None, code=None, address="", user="\u2028 'é"
        ),
        build_entry(clock(), 2, vm_id="None", operation_id="", code="null"),
    )
    trail = AuditRepository(database)
    trail.chain_pending(AUDIT_KEY)
    assert trail.verify([AUDIT_KEY]).error is None
