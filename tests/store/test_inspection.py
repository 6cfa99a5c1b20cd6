"""The inspection of a database, on SQLite and PostgreSQL."""

from collections.abc import Iterator

import pytest
from sqlalchemy import make_url, text

from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.inspection import DatabaseInspection, inspect


@pytest.fixture
def unprepared(url: str) -> Iterator[Database]:
    """The database of `url`, opened without an upgrade."""
    database = Database(url, 1, lambda _: None)
    yield database
    database.close()


def test_current_database_is_described(unprepared: Database, url: str) -> None:
    inspection = inspect(unprepared)
    assert inspection.is_current
    assert inspection.revision == schema.HEAD_REVISION
    assert inspection.size_bytes > 0
    assert inspection.location.endswith(str(make_url(url).database))
    if inspection.kind == "SQLite":
        assert (inspection.settings, inspection.problems) == ({}, ())


def inspect_with(url: str, option: str) -> DatabaseInspection:
    """Inspect a PostgreSQL with an option of its sessions."""
    changed = make_url(url).update_query_dict({"options": f"-c {option}"})
    database = Database(changed.render_as_string(hide_password=False), 1, lambda _: None)
    try:
        return inspect(database)
    finally:
        database.close()


def test_postgresql_that_takes_no_changes_is_a_problem(unprepared: Database, url: str) -> None:
    if unprepared.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no such settings")
    problem = "default_transaction_read_only is on: the database takes no changes"
    assert problem in inspect_with(url, "default_transaction_read_only=on").problems
    assert problem not in inspect(unprepared).problems


def test_settings_of_postgresql_that_lose_changes_are_problems(
    unprepared: Database, url: str
) -> None:
    if unprepared.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no such settings")
    with unprepared.read() as connection:
        settings = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("fsync", "full_page_writes", "synchronous_commit")
        }
    inspection = inspect_with(url, "synchronous_commit=off")
    assert inspection.settings == {
        "data_checksums": inspection.settings["data_checksums"],
        **settings,
        "synchronous_commit": "off",
    }
    off = [name for name, value in inspection.settings.items() if value == "off"]
    assert inspection.problems == tuple(
        f"{name} is off: a power failure loses accepted changes"
        for name in off
        if name != "data_checksums"
    )
