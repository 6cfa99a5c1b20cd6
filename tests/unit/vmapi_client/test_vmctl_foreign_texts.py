"""Texts of a server and names of VMs on a terminal: no control characters, no markup."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.loopback_server import LoopbackHandler, run_server
from tests.support.vmctl import Vmctl
from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client import VM
from vmapi_client.cli.progress import Progress
from vmapi_client.cli.selection import confirm

CLEAR_SCREEN = "\x1b[2J"
PROBLEM = {
    "type": "/problems/backend_unavailable",
    "title": "The cloud is unavailable",
    "status": 503,
    "code": "backend_unavailable",
    "detail": f"{CLEAR_SCREEN}Gone.",
}


class Terminal(io.StringIO):
    """A terminal that records its output."""

    def isatty(self) -> bool:
        return True


class ProblemHandler(LoopbackHandler):
    """Answers each request with a problem that has control characters."""

    def handle_any(self) -> None:
        headers = [("Content-Type", "application/problem+json"), ("Retry-After", "0")]
        self.send_reply(503, headers, json.dumps(PROBLEM).encode(), truncate=False)


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a server that answers with problems."""
    with run_server() as server:
        server.RequestHandlerClass = ProblemHandler
        yield server.url


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_detail_of_a_problem_controls_no_terminal(
    offline_vmctl: Vmctl, url: str, command: str
) -> None:
    result = offline_vmctl(command, "--url", url, "--timeout", "1s")
    assert "\N{REPLACEMENT CHARACTER}[2JGone." in result.out + result.err
    assert "\x1b" not in result.out + result.err


def test_name_in_a_question_controls_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    vm = replace(VM.from_json(VM_DOCUMENT), name=f"{CLEAR_SCREEN}web")
    confirm("delete", [vm], yes=True)
    assert f"  \N{REPLACEMENT CHARACTER}[2Jweb  {vm.status}" in capsys.readouterr().err


def test_name_with_brackets_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("stopping", 1, enabled=True) as progress:
        progress.report("web[/b]", "done")
    assert "stopping web[/b]: done" in terminal.getvalue()
