"""Race tests of the audit chain: several processes link, verify and purge."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.audit_chain import (
    AUDIT_KEY,
    append_entries,
    build_chain,
    build_entry,
    chain_head,
    chain_positions,
)
from tests.support.fake_clock import Clock
from tests.support.operation_factory import run_concurrently
from vmapi.store import schema
from vmapi.store.audit import repository as audit
from vmapi.store.audit.repository import AuditRepository, ChainVerification
from vmapi.store.database import Database

ENTRIES_PER_WRITER = 40


@pytest.fixture
def trails(connect: Callable[[], Database]) -> list[AuditRepository]:
    """The trail as four processes have it."""
    return [AuditRepository(connect()) for _ in range(4)]


def test_concurrent_chain_pending_leaves_a_sound_chain(
    trails: list[AuditRepository], database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 3)

    def work(number: int) -> bool:
        if number % 2:
            for i in range(ENTRIES_PER_WRITER):
                append_entries(database, build_entry(clock(), 100 * number + i))
        while trails[number].has_pending():
            trails[number].chain_pending(AUDIT_KEY)
        return True

    assert run_concurrently(4, work) == 4
    while trails[0].chain_pending(AUDIT_KEY):
        pass
    assert sorted(filter(None, chain_positions(database))) == list(
        range(1, 2 * ENTRIES_PER_WRITER + 1)
    )
    assert trails[1].verify([AUDIT_KEY]) == ChainVerification(1, chain_head(database), 0)


def test_concurrent_verify_sees_a_sound_chain(
    trails: list[AuditRepository], database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 3)
    build_chain(database, clock(), 3)
    over, wrong = Event(), []

    def verify_often() -> None:
        while not over.is_set():
            wrong.append(trails[3].verify([AUDIT_KEY]).error)

    def work(number: int) -> bool:
        for i in range(ENTRIES_PER_WRITER):
            if number == 0:
                append_entries(database, build_entry(clock() + timedelta(hours=i), i))
            elif number == 1:
                trails[1].chain_pending(AUDIT_KEY)
            else:
                trails[2].purge(clock() + timedelta(hours=i), [AUDIT_KEY])
        return True

    thread = Thread(target=verify_often)
    thread.start()
    try:
        assert run_concurrently(3, work) == 3
    finally:
        over.set()
        thread.join()
    assert wrong
    assert set(wrong) == {None}


DONE = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 9)),
        st.tuples(st.just("close"), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 10)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def folder() -> object:
    with TemporaryDirectory() as folder:
        yield Path(folder)


@given(done=DONE)
def test_chain_is_sound_after_any_sequence_of_changes(
    folder: Path, done: list[tuple[str, int]]
) -> None:
    path = folder / "vmapi.sqlite3"
    path.unlink(missing_ok=True)
    database = Database(f"sqlite:///{path}", 2, schema.ensure_current)
    trail, begun = AuditRepository(database), Clock()()
    written = purged = 0
    for what, days in done:
        if what == "write":
            append_entries(database, build_entry(begun + timedelta(days=days), written))
            written += 1
        elif what == "close":
            trail.chain_pending(AUDIT_KEY)
        else:
            purged += trail.purge(begun + timedelta(days=days), [AUDIT_KEY])
        verification = trail.verify([AUDIT_KEY])
        assert verification.error is None
        assert verification.first_position == purged + 1
        assert verification.head.position + verification.pending == written
    database.close()
