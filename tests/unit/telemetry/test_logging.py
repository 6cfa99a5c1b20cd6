"""The form of log lines: JSON for machines, coloured text on a terminal."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from vmapi.telemetry.logging import configure


class Output(io.StringIO):
    """A stdout, optionally of a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def terminal() -> bool:
    """Whether stdout is a terminal; a test overrides it by a parameter."""
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


def test_line_has_level_time_message_and_fields(output: Output) -> None:
    structlog.get_logger("test").info("said", vm_id="x", count=2)
    line = json.loads(output.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "logger": "test", "message": "said", "vm_id": "x", "count": 2}


def test_standard_library_logs_have_the_same_form(output: Output) -> None:
    logging.getLogger("gunicorn.error").warning("%s left", "one", extra={"pid": 7})
    line = json.loads(output.getvalue())
    assert (line["level"], line["message"], line["pid"]) == ("warning", "one left", 7)
    assert line["logger"] == "gunicorn.error"


def test_lines_below_the_level_are_left_out(output: Output) -> None:
    structlog.get_logger("test").debug("left out")
    logging.getLogger("keystoneauth.session").info("a token")
    assert output.getvalue() == ""


@pytest.mark.parametrize(
    "text", ["a\nb\r\x0b\x0c\x1c\x85\u2028\u2029", "\x1b[31m\x7f", "\ud800", "ü"]
)
def test_line_is_printable_ascii_for_any_text(output: Output, text: str) -> None:
    structlog.get_logger("test").info(text, path=text, nested={"list": [text]}, thing=OSError(text))
    line = output.getvalue().removesuffix("\n")
    assert line.isascii()
    assert line.isprintable()
    fields = json.loads(line)
    assert (fields["message"], fields["path"], fields["nested"]) == (text, text, {"list": [text]})
    assert fields["thing"] == repr(OSError(text))


def test_traceback_is_one_field_of_the_line(output: Output) -> None:
    fail("hunter2")
    fields = json.loads(output.getvalue())
    assert fields["message"] == "failed"
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert "hunter2" not in output.getvalue()


@at_a_terminal
def test_terminal_shows_colours(output: Output) -> None:
    structlog.get_logger("test").info("said", vm_id="x")
    assert "\x1b[36mvm_id\x1b[0m=\x1b[35mx\x1b[0m" in output.getvalue()


@at_a_terminal
@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "a\u2028b", "\u202egnp", "\x9b31m"])
def test_terminal_shows_control_characters_escaped(output: Output, text: str) -> None:
    structlog.get_logger("test").info(text, path=text, nested={"list": [text]}, thing=OSError(text))
    assert text not in output.getvalue()
    assert output.getvalue().splitlines() == [output.getvalue().removesuffix("\n")]


@at_a_terminal
def test_terminal_traceback_shows_no_values_of_variables(output: Output) -> None:
    # the test tools bring rich, so that structlog would print the values by default
    assert structlog.dev.default_exception_formatter is not structlog.dev.plain_traceback
    fail("hunter2")
    first, *rest = output.getvalue().splitlines()
    assert "failed" in first
    assert "hunter2" not in output.getvalue()
    assert all(line.startswith("  ") for line in rest)
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-2:] == ["  ValueError: no", "  such \\x1b[31mthing\\u2028"]


def test_command_logs_errors_only_and_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    configure("INFO")
    structlog.get_logger("vmapi").warning("quiet")
    structlog.get_logger("vmapi").error("loud")
    captured = capsys.readouterr()
    assert (captured.out, json.loads(captured.err)["message"]) == ("", "loud")
    configure("INFO", serves=True)
    structlog.get_logger("vmapi").info("served")
    captured = capsys.readouterr()
    assert (json.loads(captured.out)["message"], captured.err) == ("served", "")
