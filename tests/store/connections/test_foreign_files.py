"""A path that leads to the file of another program."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.connections.sqlite_files import DAMAGED
from vmapi.store.database import Database
from vmapi.store.inspection import inspect


@pytest.mark.parametrize("opens", [Database.ping, inspect], ids=["serve", "db check"])
@pytest.mark.parametrize(
    ("statements", "detail", "reason"),
    [
        (None, DAMAGED, "{path}: file is not a database"),
        (
            "CREATE TABLE users (id); CREATE TABLE posts (id)",
            "vmapi's database file belongs to another program.",
            "{path} has the tables of another program (posts, users): name another file in "
            "VMAPI_DATABASE_URL",
        ),
    ],
    ids=["text", "database"],
)
def test_file_of_another_program_stays_as_it_is(
    tmp_path: Path,
    statements: str | None,
    detail: str,
    reason: str,
    opens: Callable[[Database], object],
) -> None:
    path = tmp_path / "users.sqlite3"
    if statements is None:
        path.write_bytes(b"root:x:0:0:root:/root:/bin/bash\n" * 100)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(statements)
    path.chmod(0o644)
    content = path.read_bytes()
    database = Database(f"sqlite:///{path}", 4, schema.ensure_current)
    with pytest.raises(StoreUnavailable) as caught:
        opens(database)
    assert (caught.value.detail, caught.value.reason) == (detail, reason.format(path=path))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, 0o644)
    assert list(path.parent.iterdir()) == [path]
    database.close()
