"""API tokens end to end: created by a command, used over HTTP, revoked."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.environment import ROOT, build_environment
from tests.support.fork_server import run_forked
from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.processes import Gunicorn
from vmapi.domain.access.api_token import is_well_formed

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/vmapi.sqlite3"


@pytest.fixture
def command(url: str) -> Command:
    """Run `flask --app wsgi token …` on the database."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        arguments = ("--app", "wsgi", "token", *args)
        env = build_environment(VMAPI_DATABASE_URL=url)
        ran = run_forked("flask", *arguments, cwd=ROOT, env=env, timeout=WAIT_SECONDS)
        ran.check_returncode()
        return ran

    return run


def test_token_is_valid_from_creation_to_revocation(
    gunicorn: Callable[..., Gunicorn], command: Command, url: str
) -> None:
    server = gunicorn(VMAPI_AUTH="token", VMAPI_DATABASE_URL=url)
    server.start().wait_for("/readyz")
    assert server.call("GET", "/api/v1/vms").headers["WWW-Authenticate"] == 'Bearer realm="vmapi"'
    created = command("create", "--subject", "ci", "--role", "viewer")
    token = created.stdout.removesuffix("\n")
    assert is_well_formed(token)
    bearer = {"Authorization": f"Bearer {token}"}

    def list_status() -> int:
        return server.call("GET", "/api/v1/vms", headers=bearer).status

    assert list_status() == 200
    server.call("POST", "/api/v1/vms", headers=bearer).check_problem(403, "forbidden")

    def is_used() -> bool:
        line = command("list").stdout.splitlines()[1]
        return "  -  " not in line

    wait_until("the last use in the list", is_used)
    token_id = command("list").stdout.splitlines()[1].split()[0]
    assert command("revoke", token_id).stdout == ""
    wait_until("the revocation", lambda: list_status() == 401)
    assert token not in server.read_log()
    assert server.wait_for_line(status=403)["user"] == "ci"
