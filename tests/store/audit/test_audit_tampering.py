"""Tampering tests: every change without the key breaks the chain."""

from typing import Any

import pytest

from tests.support.audit_chain import (
    AUDIT_KEY,
    DAY,
    OTHER_AUDIT_KEY,
    append_entries,
    build_chain,
    build_entry,
    chain_head,
    list_rows,
    tamper,
)
from tests.support.fake_clock import Clock
from vmapi.domain.audit import ChainLink
from vmapi.store.audit.repository import AuditRepository
from vmapi.store.database import Database

UPDATE = 'UPDATE audit_entries SET "{}" = :new WHERE chain_position = 3'
INSERT = (
    'INSERT INTO audit_entries (at, "user", project, address, action, vm_id, operation_id,'
    " request_id, outcome, code, chain_position, mac)"
    ' SELECT at, "user", project, address, action, vm_id,'
    " operation_id, request_id, outcome, code, {}, {} FROM audit_entries WHERE chain_position = 2"
)
TOKEN = "UPDATE audit_entries SET token_id = :new WHERE chain_position = 2"
ENTRY_3 = "entry 3 does not follow from position 2"


@pytest.fixture
def trail(database: Database, clock: Clock) -> AuditRepository:
    """Five chained entries."""
    return build_chain(database, clock(), 5)


def wrong(trail: AuditRepository, sound: int, anchor: ChainLink | None = None) -> str | None:
    """Return the error of a verification; assert the position of the last sound link."""
    verification = trail.verify([AUDIT_KEY], anchor)
    assert verification.head.position == sound
    return verification.error


@pytest.mark.parametrize(
    ("column", "new"),
    [
        *[("at", 1_772_015_400_000_000), ("user", "mallory"), ("project", "another")],
        *[("address", ""), ("address", "192.0.2.11"), ("action", "delete"), ("vm_id", "vm-2")],
        *[("vm_id", None), ("operation_id", "op-2"), ("operation_id", None)],
        *[("request_id", "r-2"), ("outcome", "succeeded"), ("code", None), ("code", "none")],
        *[("token_id", "token-1"), ("reason", "because")],
        *[
            ("mac", ""),
            ("mac", "0" * 64),
            ("mac", None),
            ("chain_position", 6),
            ("chain_position", None),
        ],
    ],
)
def test_changed_column_is_detected(
    trail: AuditRepository, database: Database, column: str, new: Any
) -> None:
    assert getattr(list_rows(database)[2], column) != new
    tamper(database, UPDATE.format(column), new=new)
    gap = "entry 4 does not follow from position 2"
    assert wrong(trail, 2) == (gap if column == "chain_position" else ENTRY_3)


@pytest.mark.parametrize("new", [None, "", "token-2"])
def test_changed_token_id_is_detected(database: Database, clock: Clock, new: str | None) -> None:
    acts = [build_entry(clock(), number, token_id=f"token-{number}") for number in (1, 1, 3)]
    append_entries(database, *acts)
    trail = AuditRepository(database)
    trail.chain_pending(AUDIT_KEY)
    assert trail.verify([AUDIT_KEY]).error is None
    tamper(database, TOKEN, new=new)
    assert wrong(trail, 1) == "entry 2 does not follow from position 1"


@pytest.mark.parametrize(
    "changes",
    [
        "reason = NULL",
        "reason = ''",
        "reason = 'b'",
        "token_id = 'a', reason = NULL",
        "token_id = 'a'",
    ],
)
def test_changed_reason_is_detected(database: Database, clock: Clock, changes: str) -> None:
    acts = [build_entry(clock(), number, reason="a") for number in (1, 2, 3)]
    append_entries(database, *acts)
    trail = AuditRepository(database)
    trail.chain_pending(AUDIT_KEY)
    assert trail.verify([AUDIT_KEY]).error is None
    tamper(database, f"UPDATE audit_entries SET {changes} WHERE chain_position = 2")
    assert wrong(trail, 1) == "entry 2 does not follow from position 1"


def test_tampering_covers_every_column() -> None:
    (mark,) = test_changed_column_is_detected.pytestmark
    tried = {column for column, _ in mark.args[1]}
    assert tried == set(list_rows.__globals__["entries"].c.keys()) - {"id"}


def test_gap_before_the_head_is_detected(trail: AuditRepository, database: Database) -> None:
    tamper(database, "UPDATE audit_entries SET chain_position = 7 WHERE chain_position = 5")
    assert wrong(trail, 4) == "entry 5 does not follow from position 4"


@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_removed_entry_is_detected(trail: AuditRepository, database: Database, which: int) -> None:
    tamper(database, f"DELETE FROM audit_entries WHERE chain_position = {which}")
    assert wrong(trail, which - 1) == (
        f"entry {which + 1} does not follow from position {which - 1}"
    )


def test_removed_entry_with_closed_gap_is_detected(
    trail: AuditRepository, database: Database
) -> None:
    tamper(
        database,
        "DELETE FROM audit_entries WHERE chain_position = 3",
        "UPDATE audit_entries SET chain_position = 3 WHERE chain_position = 4",
        "UPDATE audit_entries SET chain_position = 4 WHERE chain_position = 5",
    )
    assert wrong(trail, 2) == "entry 4 does not follow from position 2"


@pytest.mark.parametrize("macs", [True, False])
def test_swapped_entries_are_detected(
    trail: AuditRepository, database: Database, macs: bool
) -> None:
    third, fourth = list_rows(database)[2:4]
    tamper(
        database,
        "UPDATE audit_entries SET chain_position = 99 WHERE id = 3",
        "UPDATE audit_entries SET chain_position = 3 WHERE id = 4",
        "UPDATE audit_entries SET chain_position = 4 WHERE id = 3",
    )
    if macs:
        tamper(database, "UPDATE audit_entries SET mac = :mac WHERE id = 4", mac=third.mac)
        tamper(database, "UPDATE audit_entries SET mac = :mac WHERE id = 3", mac=fourth.mac)
    assert wrong(trail, 2) == "entry 4 does not follow from position 2"


@pytest.mark.parametrize("mac", ["mac", "'" + "0" * 64 + "'"])
def test_appended_entry_is_detected(trail: AuditRepository, database: Database, mac: str) -> None:
    tamper(database, INSERT.format(6, mac))
    assert wrong(trail, 5) == "entry 6 does not follow from position 5"
    # later entries do not repair the chain
    tamper(database, INSERT.format("NULL", "NULL"))
    trail.chain_pending(AUDIT_KEY)
    assert wrong(trail, 5) == "entry 6 does not follow from position 5"


def test_inserted_entry_is_detected(trail: AuditRepository, database: Database) -> None:
    tamper(
        database,
        *(
            f"UPDATE audit_entries SET chain_position = {at + 1} WHERE chain_position = {at}"
            for at in (5, 4, 3)
        ),
        INSERT.format(3, "mac"),
    )
    assert wrong(trail, 2) == "entry 6 does not follow from position 2"


def test_anchor_detects_a_truncated_chain(trail: AuditRepository, database: Database) -> None:
    anchor = chain_head(database)
    tamper(database, "DELETE FROM audit_entries WHERE chain_position > 3")
    assert wrong(trail, 3) is None
    assert wrong(trail, 3, anchor) == "the chain does not hold position 5 as noted"
    # nor does it help to let the chain grow again
    tamper(database, *[INSERT.format("NULL", "NULL")] * 2)
    trail.chain_pending(AUDIT_KEY)
    assert wrong(trail, 5, anchor) == "the chain does not hold position 5 as noted"
    tamper(database, "DELETE FROM audit_entries")
    assert wrong(trail, 0, anchor) == "the chain does not hold position 5 as noted"


def test_foreign_anchor_is_detected(trail: AuditRepository) -> None:
    for anchor in (ChainLink(3, "0" * 64), ChainLink(6, "0" * 64), ChainLink(0, "0" * 64)):
        assert wrong(trail, 5, anchor) == (
            f"the chain does not hold position {anchor.position} as noted"
        )


def test_verify_with_another_key_fails(trail: AuditRepository, clock: Clock) -> None:
    assert trail.verify([OTHER_AUDIT_KEY]).error == "entry 1 does not follow from position 0"
    trail.purge(clock() + 3 * DAY, [AUDIT_KEY])
    assert (
        trail.verify([OTHER_AUDIT_KEY]).error
        == "the checkpoint at position 2 is not signed with this key"
    )
    assert trail.verify([OTHER_AUDIT_KEY]).head.position == 2
