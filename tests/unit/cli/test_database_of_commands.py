"""The database of the commands: they refuse one that is temporary, and one that is missing."""

from pathlib import Path

import pytest

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings

READING_COMMANDS = [
    ("audit", "export"),
    ("audit", "verify"),
    ("db", "check"),
    ("db", "backup", "/nonexistent/copy"),
    ("inventory", "show"),
    ("inventory", "sync"),
    ("operations", "list"),
    ("operations", "show", "1"),
    ("operations", "retry", "1"),
    ("operations", "fail", "1", "--reason", "stuck", "--yes"),
    ("token", "list"),
    ("token", "revoke", "1"),
    ("token", "rotate", "1"),
]
CREATING_COMMANDS = [
    ("db", "upgrade"),
    ("token", "create", "--subject", "ci", "--role", "viewer"),
]


def run(url: str | None, *args: str) -> tuple[int, str]:
    settings = Settings(log_level="CRITICAL", database_url=url, audit_key="k" * 32)
    app = create_app(settings, MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=args)
    app.extensions["vmapi"].store.close()
    return result.exit_code, result.output


@pytest.mark.parametrize("url", [None, "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"])
@pytest.mark.parametrize("args", READING_COMMANDS + CREATING_COMMANDS, ids=" ".join)
def test_command_refuses_a_database_that_ends_with_the_process(
    url: str | None, args: tuple[str, ...]
) -> None:
    message = "the database ends with the process: set VMAPI_DATABASE_URL=sqlite:////PATH"
    assert run(url, *args) == (1, f"Error: {message}\n")


@pytest.mark.parametrize("args", READING_COMMANDS, ids=" ".join)
def test_reading_command_refuses_a_missing_database_and_creates_nothing(
    args: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "vmapi.sqlite3"
    assert run(f"sqlite:///{path}", *args) == (1, f"Error: there is no database at {path}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", CREATING_COMMANDS, ids=" ".join)
def test_creating_command_creates_a_missing_database(args: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "folder" / "vmapi.sqlite3"
    assert run(f"sqlite:///{path}", *args)[0] == 0
    assert path.exists()
