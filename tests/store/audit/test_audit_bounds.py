"""The audit trail holds texts of a bounded length only, on both databases."""

from dataclasses import fields

from tests.support.audit_chain import list_rows
from tests.support.fake_clock import Clock
from vmapi.domain.audit import AuditEntry
from vmapi.store.audit.repository import MAX_CHARS_BY_COLUMN, AuditRepository
from vmapi.store.database import Database

KEY = "k" * 32


def test_texts_of_an_entry_are_cut_to_their_columns(database: Database, clock: Clock) -> None:
    names = [field.name for field in fields(AuditEntry) if field.name != "at"]
    texts = dict.fromkeys(names, "a\0\ud800" + "x" * 20_000)
    audit = AuditRepository(database)
    audit.add(AuditEntry(at=clock(), **texts))
    (row,) = list_rows(database)
    for name in names:
        assert getattr(row, name) == ("a\ufffd\ufffd" + "x" * 20_000)[: MAX_CHARS_BY_COLUMN[name]]
    assert audit.chain_pending(KEY) == 1
    assert audit.verify([KEY]).error is None
