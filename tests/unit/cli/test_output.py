"""Tables, fields and progress of the commands."""

import json
from typing import Any

import pytest

from vmapi.cli import output


def test_table_is_aligned_and_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("1", "web\x1b[31m\n2"), ("long", None), ("", True)]
    output.print_table(("id", "name"), rows)
    assert capsys.readouterr().out.splitlines() == [
        "id    name",
        "1     web\\x1b[31m\\n2",
        "long  -",
        "-     yes",
    ]


def test_table_of_no_rows_has_headers(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("id", "name"), [])
    assert capsys.readouterr().out == "id  name\n"


def test_fields_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_fields({"id": 1, "longer": "x\r"})
    assert capsys.readouterr().out == "id      1\nlonger  x\\r\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json([{"name": "ü\x1b"}])
    text = capsys.readouterr().out
    assert json.loads(text) == [{"name": "ü\x1b"}]
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (59.9, "59s"),
        (61, "1m 1s"),
        (3_600, "1h 0m"),
        (86_400, "1d 0h"),
        (180_000, "2d 2h"),
    ],
)
def test_duration_has_its_two_largest_units(seconds: float | None, text: str | None) -> None:
    assert output.format_duration(seconds) == text


def test_progress_is_written_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with output.showing_progress("reading"):
        print("data")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("data\n", "reading …\n")


def test_progress_on_a_terminal_shows_the_duration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", Terminal(output.sys.stderr))
    with output.showing_progress("reading"):
        pass
    assert capsys.readouterr().err.startswith("\r\x1b[Kreading … 0s")
