"""vmctl on a pseudo-terminal."""

import re
from collections.abc import Iterator

import pexpect
import pytest

from tests.support.vmctl import Vmctl, read_terminal

NAME = "a-very-long-name-of-a-vm-on-a-narrow-terminal-"
FLAVOR = ("--flavor", "m1.tiny", "--image", "cirros")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def name(vmctl: Vmctl) -> Iterator[str]:
    """A VM with a long name, deleted after the test."""
    vmctl.succeed("create", f"{NAME}1", *FLAVOR, "--wait")
    yield f"{NAME}1"
    vmctl("delete", "--name", f"{NAME}*", "--yes", "--wait")


def assert_silent_interrupt(process: "pexpect.spawn[str]") -> None:
    """Wait for the end of a command after Ctrl-C."""
    code, lines = read_terminal(process)
    assert code == 130, lines
    assert [line for line in lines if "vmctl:" in line or "Traceback" in line] == []


@pytest.mark.parametrize(("columns", "variables"), [(80, {}), (200, {"NO_COLOR": "1"})])
def test_table_fits_the_terminal_with_colors_unless_there_shall_be_none(
    vmctl: Vmctl, name: str, columns: int, variables: dict[str, str]
) -> None:
    command = ("list", "--name", f"{NAME}*")
    code, lines = read_terminal(vmctl.spawn(*command, columns=columns, **variables))
    assert bool(ESCAPE.search("".join(lines))) is not bool(variables)
    plain = [ESCAPE.sub("", line).rstrip() for line in lines]
    assert (code, len(plain)) == (0, 2)
    assert plain[0].split() == ["NAME", "STATUS", "TASK", "IP", "FLAVOR", "IMAGE", "AGE"]
    assert max(map(len, plain)) <= columns
    assert (name in plain[1]) == (columns == 200)
    assert "STOPPED" in plain[1]


def test_terminal_without_room_for_the_columns_gets_whole_lines(vmctl: Vmctl, name: str) -> None:
    command = ("list", "--name", f"{NAME}*")
    code, lines = read_terminal(vmctl.spawn(*command, columns=20))
    assert (code, len(lines)) == (0, 2)
    assert lines[1].split()[:2] == [name, "STOPPED"]


def test_question_needs_a_yes(vmctl: Vmctl, name: str) -> None:
    process = vmctl.spawn("delete", "--name", f"{NAME}*")
    process.expect("Delete 1 VM\\?")
    process.sendline("n")
    code, lines = read_terminal(process)
    assert (code, lines[-1]) == (1, "vmctl: no confirmation: nothing was done")
    process = vmctl.spawn("delete", "--name", f"{NAME}*", "--wait")
    process.expect("Delete 1 VM\\?")
    process.sendline("y")
    code, lines = read_terminal(process)
    assert code == 0
    assert "DELETED" in lines[-1]


def test_waiting_command_shows_progress_and_then_the_data(vmctl: Vmctl, name: str) -> None:
    process = vmctl.spawn("start", name, "--wait", columns=120)
    process.expect("starting")
    process.expect("1/1")
    code, lines = read_terminal(process)
    assert code == 0
    assert "RUNNING" in lines[-1]


def test_token_is_not_echoed(vmctl: Vmctl) -> None:
    process = vmctl.spawn("login", "--url", vmctl.url or "")
    process.expect("Token:")
    process.sendline("secret-token")
    code, lines = read_terminal(process)
    assert code == 0
    assert "secret-token" not in "".join(lines)


@pytest.mark.parametrize(
    ("command", "question"),
    [(("delete", "--name", f"{NAME}*"), "Delete 1 VM\\?"), (("login",), "Token:")],
)
def test_ctrl_c_ends_a_prompt(
    vmctl: Vmctl, name: str, command: tuple[str, ...], question: str
) -> None:
    vmctl.succeed("context", "add", "dev", vmctl.url or "")
    process = vmctl.spawn(*command)
    process.expect(question)
    process.sendcontrol("c")
    assert_silent_interrupt(process)
    assert "STOPPED" in vmctl.succeed("list", name).out


def test_live_table_follows_changes_until_ctrl_c(vmctl: Vmctl, name: str) -> None:
    process = vmctl.spawn("watch", name, columns=120)
    process.expect("STOPPED")
    vmctl.succeed("start", name, "--wait")
    process.expect("RUNNING")
    process.sendcontrol("c")
    assert_silent_interrupt(process)


def test_ctrl_c_ends_a_wait_at_once(vmctl: Vmctl, name: str) -> None:
    process = vmctl.spawn("wait", name, "--for", "PAUSED")
    process.expect("waiting")
    process.sendcontrol("c")
    assert_silent_interrupt(process)
