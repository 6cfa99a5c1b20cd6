"""What all commands have in common: text in UTF-8, and a stdout that takes their output."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.cli.command import OperatorCommand
from vmapi.cli.commands import COMMANDS
from vmapi.settings.settings import Settings

NOT_UTF_8 = b"\xff".decode(errors="surrogateescape")

TEXT_COMMANDS = [
    ("operations", "show", NOT_UTF_8),
    ("operations", "retry", NOT_UTF_8),
    ("operations", "fail", NOT_UTF_8, "--reason", "stuck", "--yes"),
    ("token", "revoke", NOT_UTF_8),
    ("token", "rotate", NOT_UTF_8),
    ("audit", "export", "--user", NOT_UTF_8),
    ("audit", "export", "--project", NOT_UTF_8),
    ("audit", "export", "--vm-id", NOT_UTF_8),
    ("audit", "export", "--request-id", NOT_UTF_8),
    ("audit", "export", "--token-id", NOT_UTF_8),
    ("db", "backup", NOT_UTF_8),
    ("support-bundle", NOT_UTF_8, "--json"),
]


@pytest.mark.parametrize("args", TEXT_COMMANDS, ids=lambda args: " ".join(args[:-1]))
def test_text_that_is_not_utf_8_is_refused(args: tuple[str, ...], tmp_path: Path) -> None:
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{tmp_path}/vmapi.sqlite3")
    app = create_app(settings, MemoryBackend())
    with app.app_context():
        runner = app.test_cli_runner()
        assert runner.invoke(args=("db", "upgrade")).exit_code == 0
        files = sorted(tmp_path.iterdir())
        result = runner.invoke(args=args)
    app.extensions["vmapi"].store.close()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].endswith(": not text in UTF-8")
    assert sorted(tmp_path.iterdir()) == files


def run_failing(error: OSError) -> Result:
    """Run a command that raises an error."""

    @click.command(cls=OperatorCommand)
    def fail() -> None:
        raise error

    return CliRunner().invoke(fail)


def test_error_of_the_system_is_one_line() -> None:
    full = run_failing(OSError(errno.ENOSPC, "No space left on device"))
    message = "Error: the output cannot be written: No space left on device\n"
    assert (full.exit_code, full.output) == (1, message)
    denied = run_failing(PermissionError(errno.EACCES, "Permission denied", "/root/a"))
    assert (denied.exit_code, denied.output) == (1, "Error: /root/a: Permission denied\n")


def test_closed_pipe_ends_a_command_silently() -> None:
    result = run_failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert (result.exit_code, result.output) == (1, "")


def test_closed_stdout_is_refused_before_the_command_acts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acts = []
    command = OperatorCommand("act", callback=lambda: acts.append(1))
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert (ended.value.code, acts) == (1, [])
    assert capsys.readouterr().err == "Error: stdout is closed\n"


def find_commands(command: click.Command) -> list[click.Command]:
    """Return the commands of a group, or the command itself."""
    return list(command.commands.values()) if isinstance(command, click.Group) else [command]


def test_all_commands_but_the_worker_report_in_this_way() -> None:
    commands = [command for listed in COMMANDS for command in find_commands(listed)]
    others = [command.name for command in commands if not isinstance(command, OperatorCommand)]
    assert others == ["worker"]


JSON_COMMANDS = {
    ("check",): "failures",
    ("db", "upgrade"): "error",
    ("db", "check"): "error",
    ("db", "backup", "/nonexistent/copy"): "error",
    ("operations", "list"): "error",
    ("operations", "show", "1"): "error",
    ("operations", "retry", "1"): "error",
    ("operations", "fail", "1", "--reason", "stuck", "--yes"): "error",
    ("inventory", "show"): "error",
    ("inventory", "sync"): "error",
    ("token", "list"): "error",
    ("audit", "verify"): "error",
}
"""The commands with `--json`, and the member of the reason in the document of a failure."""


def test_list_has_all_commands_with_json_except_the_support_bundle() -> None:
    names = {
        command.name
        for listed in COMMANDS
        for command in find_commands(listed)
        if "is_json" in {parameter.name for parameter in command.params}
    }
    assert names - {"support-bundle"} == {args[args[0] != "check"] for args in JSON_COMMANDS}


@pytest.mark.parametrize(("args", "member"), JSON_COMMANDS.items(), ids=str)
def test_json_of_a_failed_command_has_the_reason(
    args: tuple[str, ...], member: str, tmp_path: Path
) -> None:
    database = tmp_path / "vmapi.sqlite3"
    database.write_text("This is no database.")
    settings = Settings(
        log_level="CRITICAL", database_url=f"sqlite:///{database}", audit_key="k" * 32
    )
    app = create_app(settings, MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=(*args, "--json"))
    app.extensions["vmapi"].store.close()
    reason = json.loads(result.stdout)[member]
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {reason if member == 'error' else reason[0]}"


def run_vmapi(
    *args: str, preparation: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `vmapi` after a preparation in Python."""
    script = f"{preparation}\nfrom vmapi.__main__ import main; main(prog_name='vmapi')"
    return subprocess.run(
        [sys.executable, "-c", script, *args],
        env=build_environment(**settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )


def test_json_of_a_refused_start_has_the_reason() -> None:
    result = run_vmapi("token", "list", "--json", VMAPI_THREADS="0")
    reason = "VMAPI_THREADS '0': allowed is a whole number from 2 to 256"
    assert (result.returncode, json.loads(result.stdout)) == (3, {"error": reason})
    assert result.stderr == f"vmapi does not start: {reason}\n"


@pytest.mark.parametrize("args", [("check",), ("serve",), ("support-bundle", "/nonexistent/a")])
def test_deleted_folder_is_refused_in_one_line(args: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    preparation = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); os.chdir({str(folder)!r}); "
        f"os.rmdir({str(folder)!r})"
    )
    result = run_vmapi(*args, preparation=preparation)
    reason = "the current folder was deleted: change to another one"
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == f"vmapi does not start: {reason}\n"
