"""How a line of the log comes out: for machines, and for people at a terminal."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from vmapi.telemetry.logging import configure


class Output(io.StringIO):
    """A stdout that may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def terminal() -> bool:
    """A test that wants one parametrizes this."""
    return False


@pytest.fixture
def output(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = Output(terminal)
    monkeypatch.setattr(sys, "stdout", written)
    configure("INFO")
    yield written
    root.handlers[:] = before
    root.setLevel(level)


def crash(password: str) -> None:
    raise ValueError("no\nsuch \x1b[31mthing\u2028")


def fail(password: str) -> None:
    try:
        crash(password)
    except ValueError:
        structlog.get_logger("test").exception("failed", password_length=len(password))


at_a_terminal = pytest.mark.parametrize("terminal", [True])


def test_members_of_a_line(output: Output) -> None:
    structlog.get_logger("test").info("said", vm_id="x", count=2)
    line = json.loads(output.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "message": "said", "vm_id": "x", "count": 2}


def test_standard_library_comes_out_the_same(output: Output) -> None:
    logging.getLogger("gunicorn.error").warning("%s left", "one", extra={"pid": 7})
    line = json.loads(output.getvalue())
    assert (line["level"], line["message"], line["pid"]) == ("warning", "one left", 7)


def test_level(output: Output) -> None:
    structlog.get_logger("test").debug("not told")
    logging.getLogger("keystoneauth.session").info("a token")
    assert output.getvalue() == ""


@pytest.mark.parametrize(
    "text", ["a\nb\r\x0b\x0c\x1c\x85\u2028\u2029", "\x1b[31m\x7f", "\ud800", "ü"]
)
def test_line_is_plain_ascii_whatever_is_in_it(output: Output, text: str) -> None:
    structlog.get_logger("test").info(text, path=text, nested={"list": [text]}, thing=OSError(text))
    line = output.getvalue().removesuffix("\n")
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert (told["message"], told["path"], told["nested"]) == (text, text, {"list": [text]})
    assert told["thing"] == repr(OSError(text))


def test_traceback_is_one_member_of_the_line(output: Output) -> None:
    fail("hunter2")
    told = json.loads(output.getvalue())
    assert told["message"] == "failed"
    assert told["exception"].startswith("Traceback (most recent call last):\n")
    assert "hunter2" not in output.getvalue()


@at_a_terminal
def test_terminal_gets_colours(output: Output) -> None:
    structlog.get_logger("test").info("said", vm_id="x")
    assert "\x1b[36mvm_id\x1b[0m=\x1b[35mx\x1b[0m" in output.getvalue()


@at_a_terminal
@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "a\u2028b", "\u202egnp", "\x9b31m"])
def test_terminal_obeys_nobody_else(output: Output, text: str) -> None:
    structlog.get_logger("test").info(text, path=text, nested={"list": [text]}, thing=OSError(text))
    assert text not in output.getvalue()
    assert output.getvalue().splitlines() == [output.getvalue().removesuffix("\n")]


@at_a_terminal
def test_terminal_gets_tracebacks_without_the_values_of_variables(output: Output) -> None:
    fail("hunter2")
    first, *rest = output.getvalue().splitlines()
    assert "failed" in first
    assert "hunter2" not in output.getvalue()
    assert all(line.startswith("  ") for line in rest)
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-2:] == ["  ValueError: no", "  such \\x1b[31mthing\\u2028"]


def test_under_a_command_stdout_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    configure("INFO")
    structlog.get_logger("vmapi").warning("quiet")
    structlog.get_logger("vmapi").error("loud")
    told = capsys.readouterr()
    assert (told.out, json.loads(told.err)["message"]) == ("", "loud")
    configure("INFO", serves=True)
    structlog.get_logger("vmapi").info("served")
    told = capsys.readouterr()
    assert (json.loads(told.out)["message"], told.err) == ("served", "")
