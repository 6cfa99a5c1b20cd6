"""The commands `token create`, `list`, `revoke` and `rotate`."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from tests.support.audit_rows import audit_rows
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.api_token import hash_token, is_well_formed
from vmapi.domain.timestamps import format_rfc3339
from vmapi.settings.settings import Settings


class CommandRunner:
    """Runs commands, each in a new app on the same database."""

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

    def create(self, *options: str) -> str:
        args = ("token", "create", "--subject", "ci", "--role", "operator", *options)
        result = self.run(*args)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def list_rows(self) -> list[list[str]]:
        _, *lines = self.run("token", "list").stdout.splitlines()
        return [re.split(r"  +", line) for line in lines]

    def repository(self) -> Any:
        return self.app().extensions["vmapi"].store.api_tokens


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[CommandRunner]:
    runner = CommandRunner(f"sqlite:///{tmp_path}/vmapi.sqlite3")
    yield runner
    for app in runner.apps:
        app.extensions["vmapi"].store.close()


def test_create_prints_the_token_and_nothing_else(runner: CommandRunner) -> None:
    out = runner.create("--project", "web", "--expires", "30d")
    assert out.endswith("\n")
    assert is_well_formed(out.strip())
    (stored,) = runner.repository().list_all()
    assert (stored.subject, stored.role, stored.project) == ("ci", "operator", "web")
    assert stored.digest == hash_token(out.strip())
    assert (stored.expires_at - stored.created_at).days == 30
    (line,) = runner.list_rows()
    assert out.strip() not in str(line)
    assert line[:4] == [stored.id, "active", "operator", "web"]
    assert line[5:] == ["-", "ci"]


def test_lifetime_of_a_token(runner: CommandRunner) -> None:
    for lifetime, hours in (("90m", 1.5), ("12h", 12), ("7d", 168)):
        runner.create("--expires", lifetime)
        stored = runner.repository().list_all()[-1]
        assert stored.expires_at == stored.created_at + timedelta(hours=hours)
    runner.create("--expires", "never")
    assert runner.repository().list_all()[-1].expires_at is None
    runner.create()
    stored = runner.repository().list_all()[-1]
    assert (stored.project, (stored.expires_at - stored.created_at).days) == ("default", 90)


@pytest.mark.parametrize(
    "args",
    [
        ("--expires", "soon"),
        ("--expires", "30"),
        ("--expires", "99999d"),
        ("--expires", "0d"),
        ("--project", ""),
        ("--project", "a b"),
        ("--project", "x" * 65),
        ("--subject", "jwt:ci"),
        ("--subject", "anonymous"),
        ("--subject", "a\nb"),
        ("--role", "root"),
    ],
)
def test_create_refuses_malformed_options(runner: CommandRunner, args: tuple[str, str]) -> None:
    options = ("--subject", "ci", "--role", "viewer", *args)
    result = runner.run("token", "create", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert runner.repository().list_all() == []


def test_list_prints_one_json_document(runner: CommandRunner) -> None:
    secret = runner.create("--project", "web").strip()
    (stored,) = runner.repository().list_all()
    output = runner.run("token", "list", "--json").stdout
    (document,) = json.loads(output)
    assert secret not in output
    assert document == {
        "id": stored.id,
        "state": "active",
        "subject": "ci",
        "role": "operator",
        "project": "web",
        "created_at": format_rfc3339(stored.created_at),
        "expires_at": format_rfc3339(stored.expires_at),
        "revoked_at": None,
        "last_used_at": None,
    }


def test_revoke_ends_a_token_once(runner: CommandRunner) -> None:
    runner.create()
    (stored,) = runner.repository().list_all()
    result = runner.run("token", "revoke", stored.id)
    assert (result.exit_code, result.output) == (0, "")
    assert runner.list_rows()[0][1] == "revoked"
    for token_id in (stored.id, "unknown"):
        repeated = runner.run("token", "revoke", token_id)
        message = f"Error: no active token has the id {token_id}: vmapi token list\n"
        assert (repeated.exit_code, repeated.output) == (1, message)


def test_rotate_replaces_a_token(runner: CommandRunner) -> None:
    first = runner.create("--expires", "30d").strip()
    (old,) = runner.repository().list_all()
    second = runner.run("token", "rotate", old.id, "--overlap", "1h").stdout.strip()
    assert is_well_formed(second)
    assert second != first
    old, new = runner.repository().list_all()
    assert old.revoked_at == new.created_at + timedelta(hours=1)
    assert (new.subject, new.role, new.project) == (old.subject, old.role, old.project)
    assert new.expires_at - new.created_at == old.expires_at - old.created_at
    assert runner.run("token", "rotate", old.id).exit_code == 1
    assert runner.run("token", "rotate", new.id).exit_code == 0
    assert [line[1] for line in runner.list_rows()] == ["active", "revoked", "active"]


def test_token_commands_are_audited(runner: CommandRunner) -> None:
    runner.create("--project", "web")
    (old,) = runner.repository().list_all()
    runner.run("token", "rotate", old.id, "--overlap", "1h")
    runner.run("token", "revoke", old.id)
    _, new = runner.repository().list_all()
    entries = audit_rows(runner.app())
    assert [(row.action, row.project, row.token_id) for row in entries] == [
        ("token_create", "web", old.id),
        ("token_rotate", "web", old.id),
        ("token_create", "web", new.id),
        ("token_revoke", "web", old.id),
    ]
    assert {row.user.partition(":")[0] for row in entries} == {"cli"}
    first, second, third, fourth = (row.request_id for row in entries)
    # both entries of a rotation have the request id of the command
    assert second == third
    assert len({first, second, fourth}) == 3
    assert all(
        re.fullmatch(r"req-[0-9a-f-]{36}", request_id) for request_id in (first, second, fourth)
    )


def test_token_commands_refuse_a_database_that_ends_with_the_process() -> None:
    runner = CommandRunner(None)
    for args in (("list",), ("revoke", "1"), ("create", "--subject", "ci", "--role", "viewer")):
        result = runner.run("token", *args)
        assert result.exit_code == 1
        assert "set VMAPI_DATABASE_URL=sqlite:////PATH" in result.output


def test_list_reports_an_unreachable_database() -> None:
    result = CommandRunner("postgresql+psycopg://u:hunter2@127.0.0.1:1/n").run("token", "list")
    assert result.exit_code == 1
    assert result.output.startswith("Error: vmapi's database does not answer: connection failed: ")
