"""A SQLite file that does not exist: what `check` and the commands say."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.file_lock import lock_of_another_process
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings

NOT_CREATED = "does not exist yet: a server creates it"
COMMANDS = [("check",), ("db", "check"), ("operations", "list")]


def run(path: Path, *args: str) -> tuple[int, str, str]:
    """Return the exit status, the output, and the last line of the errors of a command."""
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{path}")
    app = create_app(settings, MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=args)
    app.extensions["vmapi"].store.close()
    return result.exit_code, result.stdout, (result.stderr.splitlines() or [""])[-1]


def test_file_in_a_folder_that_a_server_makes_is_not_created_yet(tmp_path: Path) -> None:
    code, output, error = run(tmp_path / "new" / "folder" / "vmapi.sqlite3", "check")
    assert (code, error) == (0, "")
    assert NOT_CREATED in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_deleted_file_is_reported_as_deleted(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "vmapi.sqlite3"
    assert run(path, "db", "upgrade")[0] == 0
    path.unlink()
    code, output, error = run(path, *command)
    assert code == 1
    assert NOT_CREATED not in output
    assert error == (
        f"Error: vmapi's database file was deleted: {path} does not exist, but vmapi.sqlite3.lock "
        "next to it: stop all processes, then put the file or a backup back, or delete these "
        "files for an empty database"
    )
    assert not path.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_emptied_file_is_reported_and_stays_empty(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "vmapi.sqlite3"
    assert run(path, "db", "upgrade")[0] == 0
    path.write_bytes(b"")
    code, _, error = run(path, *command)
    assert code == 1
    assert f"was deleted: {path} is empty, but vmapi.sqlite3.lock next to it" in error
    assert path.stat().st_size == 0


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_file_that_another_process_creates_is_not_reported_as_deleted(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "vmapi.sqlite3"
    path.touch()
    with lock_of_another_process(path):
        code, _, error = run(path, *command)
    assert code == 1
    assert error == (
        f"Error: Another process has locked vmapi's database: {path}.lock is locked: wait until "
        "the other process has created or upgraded the database, or end that process if it hangs "
        f"(fuser {path}.lock)"
    )


def test_lock_file_of_another_user_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def refuse(path: Any, flags: int, *mode: int) -> int:
        # root may read everything
        if str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_file(path, flags, *mode)

    path = tmp_path / "vmapi.sqlite3"
    Path(f"{path}.lock").touch()
    monkeypatch.setattr("os.open", refuse)
    code, _, error = run(path, "check")
    assert code == 1
    assert error == (
        "Error: vmapi's database file cannot be opened: [Errno 13] Permission denied: "
        f"'{path}.lock'"
    )


def test_pipe_instead_of_a_lock_file_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "vmapi.sqlite3"
    os.mkfifo(f"{path}.lock")
    code, _, error = run(path, "check")
    assert code == 1
    assert f"{path} does not exist, but vmapi.sqlite3.lock next to it" in error


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_folder_that_is_a_file_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = tmp_path / "file"
    folder.touch()
    path = folder / "data" / "vmapi.sqlite3"
    code, output, error = run(path, *command)
    assert code == 1
    assert NOT_CREATED not in output
    assert error == (
        f"Error: vmapi's database file cannot be opened: {path} does not exist and cannot be "
        f"created: {folder} is no folder. Correct the folder, or the path in VMAPI_DATABASE_URL"
    )


def test_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access

    def refuse(path: Any, mode: int) -> bool:
        # root may write everywhere
        return Path(path) != tmp_path and access(path, mode)

    monkeypatch.setattr("os.access", refuse)
    path = tmp_path / "data" / "vmapi.sqlite3"
    code, _, error = run(path, "check")
    assert code == 1
    assert error == (
        f"Error: vmapi's database file cannot be opened: {path} does not exist and cannot be "
        f"created: this user may not write into {tmp_path}. Correct the folder, or the path in "
        "VMAPI_DATABASE_URL"
    )
