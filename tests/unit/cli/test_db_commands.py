"""The commands `db check` and `db backup`."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings
from vmapi.store.schema import HEAD_REVISION


def run(path: Path, *args: str, audit_key: str | None = None) -> Result:
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{path}", audit_key=audit_key)
    app = create_app(settings, MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=("db", *args))
    app.extensions["vmapi"].store.close()
    return result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "vmapi.sqlite3"
    assert run(path, "upgrade").exit_code == 0
    return path


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_check_of_a_sound_database(path: Path) -> None:
    result = run(path, "check")
    values = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (result.exit_code, result.stderr) == (0, "Checking the database …\n")
    assert values["location"] == str(path)
    assert (values["schema"], values["problems"]) == (HEAD_REVISION, "0")
    assert values["database"] == f"SQLite {sqlite3.sqlite_version}"
    hinted = run(path, "check", audit_key="k" * 32)
    assert hinted.stderr.splitlines()[-1] == (
        "The audit trail has a separate check: vmapi audit verify"
    )


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("DROP TABLE alembic_version", "is empty"),
        ("UPDATE alembic_version SET version_num = '0000', oldest_revision = '0000'", "is at 0000"),
    ],
)
def test_check_of_another_schema_upgrades_nothing(path: Path, statement: str, state: str) -> None:
    execute(path, statement)
    before = path.read_bytes()
    result = run(path, "check", "--json")
    problem = f"the schema {state}, this vmapi needs {HEAD_REVISION}: vmapi db upgrade, or a newer"
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == [f"{problem} vmapi"]
    assert result.stderr.splitlines()[-1] == f"Error: {problem} vmapi"
    assert path.read_bytes() == before


def test_check_names_a_missing_table(path: Path) -> None:
    execute(path, "DROP TABLE vms")
    result = run(path, "check", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == ["the table vms is missing"]
    assert result.stderr.splitlines()[-1] == "Error: the table vms is missing"


def test_check_finds_a_damaged_index(path: Path) -> None:
    execute(path, "INSERT INTO leader_leases VALUES ('sync', 'me', 0, NULL)")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'expires_at BIGINT NOT NULL', "
            "'expires_at BIGINT NOT NULL CHECK (expires_at > 0)') WHERE name = 'leader_leases'"
        )
        connection.commit()
    result = run(path, "check")
    assert result.exit_code == 1
    assert "Error: quick_check: CHECK constraint failed in leader_leases" in result.stderr


def test_check_of_a_damaged_file(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    result = run(path, "check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"Error: vmapi's database is damaged: {path}: file is not a database"
    )


def test_backup_is_a_copy_that_can_be_used(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite3"
    result = run(path, "backup", str(target))
    assert (result.exit_code, result.stderr) == (0, "Copying the database …\n")
    assert result.stdout.splitlines()[0] == f"file      {target}"
    assert run(target, "check").exit_code == 0
    again = run(path, "backup", str(target))
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.splitlines()[-1] == f"Error: {target} exists, and is not overwritten"


def test_backup_of_an_older_schema_upgrades_nothing(path: Path, tmp_path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = '0000', oldest_revision = '0000'")
    target = tmp_path / "copy.sqlite3"
    document = json.loads(run(path, "backup", str(target), "--json").stdout)
    assert (document["file"], document["size_bytes"]) == (str(target), os.stat(target).st_size)
    checked = json.loads(run(target, "check", "--json").stdout)
    assert checked["revision"] == "0000"


def test_backup_into_a_missing_folder_is_refused(path: Path, tmp_path: Path) -> None:
    result = run(path, "backup", str(tmp_path / "missing" / "copy"))
    assert result.exit_code == 1
    expected = f"Error: {tmp_path}/missing/copy: No such file or directory"
    assert result.stderr.splitlines()[-1] == expected
