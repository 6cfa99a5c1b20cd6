"""`flask token`: printed once, on stdout alone; `flask roles`: as the page has it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from tests.support.audit_rows import audit_rows
from tests.support.processes import ROOT
from vmapi.api.openapi import permission_table as matrix
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.api_token import hash_token, is_well_formed
from vmapi.settings.settings import Settings


class Shell:
    """The commands, each in a process of its own."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.apps: list[Flask] = []

    def app(self) -> Flask:
        settings = Settings(log_level="CRITICAL", database_url=self.url)
        self.apps.append(create_app(settings, MemoryBackend()))
        return self.apps[-1]

    def run(self, *args: str) -> Result:
        app = self.app()
        with app.app_context():
            return app.test_cli_runner().invoke(args=args)

    def create(self, *more: str) -> str:
        args = ("token", "create", "--subject", "ci", "--role", "operator", *more)
        result = self.run(*args)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def listed(self) -> list[list[str]]:
        _, *lines = self.run("token", "list").stdout.splitlines()
        return [re.split(r"  +", line) for line in lines]

    def kept(self) -> Any:
        return self.app().extensions["vmapi"].store.api_tokens


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(f"sqlite:///{tmp_path}/vmapi.sqlite3")
    yield shell
    for app in shell.apps:
        app.extensions["vmapi"].store.close()


def test_create_prints_the_token_and_nothing_else(shell: Shell) -> None:
    out = shell.create("--project", "web", "--expires", "30d")
    assert out.endswith("\n")
    assert is_well_formed(out.strip())
    (kept,) = shell.kept().list_all()
    assert (kept.subject, kept.role, kept.project) == ("ci", "operator", "web")
    assert kept.digest == hash_token(out.strip())
    assert (kept.expires_at - kept.created_at).days == 30
    (line,) = shell.listed()
    assert out.strip() not in str(line)
    assert line[:4] == [kept.id, "active", "operator", "web"]
    assert line[5:] == ["-", "ci"]


def test_expires(shell: Shell) -> None:
    for given, hours in (("90m", 1.5), ("12h", 12), ("7d", 168)):
        shell.create("--expires", given)
        kept = shell.kept().list_all()[-1]
        assert kept.expires_at == kept.created_at + timedelta(hours=hours)
    shell.create("--expires", "never")
    assert shell.kept().list_all()[-1].expires_at is None
    shell.create()
    kept = shell.kept().list_all()[-1]
    assert (kept.project, (kept.expires_at - kept.created_at).days) == ("default", 90)


@pytest.mark.parametrize(
    "args",
    [
        ("--expires", "soon"),
        ("--expires", "30"),
        ("--expires", "99999d"),
        ("--project", ""),
        ("--project", "a b"),
        ("--project", "x" * 65),
        ("--subject", "jwt:ci"),
        ("--subject", "anonymous"),
        ("--subject", "a\nb"),
        ("--role", "root"),
    ],
)
def test_what_create_refuses(shell: Shell, args: tuple[str, str]) -> None:
    given = ("--subject", "ci", "--role", "viewer", *args)
    result = shell.run("token", "create", *given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert shell.kept().list_all() == []


def test_revoke(shell: Shell) -> None:
    shell.create()
    (kept,) = shell.kept().list_all()
    result = shell.run("token", "revoke", kept.id)
    assert (result.exit_code, result.output) == (0, "")
    assert shell.listed()[0][1] == "revoked"
    for id in (kept.id, "nothing"):
        again = shell.run("token", "revoke", id)
        told = f"Error: no active token has the id {id}: flask --app wsgi token list\n"
        assert (again.exit_code, again.output) == (1, told)


def test_rotate(shell: Shell) -> None:
    first = shell.create("--expires", "30d").strip()
    (old,) = shell.kept().list_all()
    second = shell.run("token", "rotate", old.id, "--overlap", "1h").stdout.strip()
    assert is_well_formed(second)
    assert second != first
    old, new = shell.kept().list_all()
    assert old.revoked_at == new.created_at + timedelta(hours=1)
    assert (new.subject, new.role, new.project) == (old.subject, old.role, old.project)
    assert new.expires_at - new.created_at == old.expires_at - old.created_at
    assert shell.run("token", "rotate", old.id).exit_code == 1
    assert shell.run("token", "rotate", new.id).exit_code == 0
    assert [line[1] for line in shell.listed()] == ["active", "revoked", "active"]


def test_each_is_in_the_audit_trail(shell: Shell) -> None:
    shell.create("--project", "web")
    (old,) = shell.kept().list_all()
    shell.run("token", "rotate", old.id, "--overlap", "1h")
    shell.run("token", "revoke", old.id)
    _, new = shell.kept().list_all()
    entries = audit_rows(shell.app())
    assert [(row.action, row.project, row.token_id) for row in entries] == [
        ("token_create", "web", old.id),
        ("token_rotate", "web", old.id),
        ("token_create", "web", new.id),
        ("token_revoke", "web", old.id),
    ]
    assert {row.user.partition(":")[0] for row in entries} == {"cli"}
    first, second, third, fourth = (row.request_id for row in entries)
    # each command is one act
    assert second == third
    assert len({first, second, fourth}) == 3
    assert all(re.fullmatch(r"req-[0-9a-f-]{36}", id) for id in (first, second, fourth))


def test_a_database_that_goes_with_the_process_keeps_no_tokens() -> None:
    shell = Shell(None)
    for args in (("list",), ("revoke", "1"), ("create", "--subject", "ci", "--role", "viewer")):
        result = shell.run("token", *args)
        assert result.exit_code == 1
        assert "set VMAPI_DATABASE_URL=sqlite:////PATH" in result.output


def test_a_database_that_is_away() -> None:
    result = Shell("postgresql+psycopg://u:hunter2@127.0.0.1:1/n").run("token", "list")
    assert (result.exit_code, result.output) == (1, "Error: vmapi's database does not answer.\n")


def test_the_page_is_what_is_enforced(shell: Shell) -> None:
    page = (ROOT / "docs/authorization.md").read_text()
    table = matrix.authorization_table(shell.app())
    assert page.partition("<!-- flask --app wsgi roles -->\n")[2] == f"\n{table}\n"
    assert shell.run("roles").output == f"{table}\n"
