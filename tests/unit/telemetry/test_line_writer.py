"""Lines for a full disk: the file has whole lines, and a line with the number of dropped ones."""

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmapi.telemetry.line_writer import LineWriter

ROOM_BYTES = 1000


@contextmanager
def full_disk() -> Iterator[None]:
    """Refuse writes beyond `ROOM_BYTES` of a file during the block: with EFBIG, not ENOSPC."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def render(record: logging.LogRecord) -> str:
    return f"{record.getMessage()}: {record.__dict__['lines']}"


@pytest.mark.parametrize("length", [49, 99, 333, 1500])
def test_full_disk_breaks_no_line(tmp_path: Path, length: int) -> None:
    with (tmp_path / "log").open("ab") as file:
        writer = LineWriter(file.fileno(), render)
        with full_disk():
            for number in range(30):
                writer.write(f"{number:0{length}}\n".encode())
        assert writer.dropped_lines > 0
        writer.write(b"after\n")
        writer.write(b"end\n")
    lines = (tmp_path / "log").read_text().splitlines()
    *numbers, after, report, end = lines
    assert numbers == [f"{number:0{length}}" for number in range(len(numbers))]
    assert (after, end) == ("after", "end")
    assert report == f"log lines dropped: {30 - len(numbers)}"


def test_batch_of_lines_is_written_up_to_the_end_of_the_disk(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        writer = LineWriter(file.fileno(), render)
        with full_disk():
            for batch in range(3):
                writer.write("".join(f"{batch}-{n:097}\n" for n in range(7)).encode())
        writer.write(b"after\n")
    *lines, after, report = (tmp_path / "log").read_text().splitlines()
    assert [len(line) for line in lines] == [99] * 10
    assert (after, report) == ("after", "log lines dropped: 11")


def test_file_without_room_gets_nothing(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        writer = LineWriter(file.fileno(), render)
        writer.write(b"x" * (ROOM_BYTES - 1) + b"\n")
        with full_disk():
            writer.write(b"lost\n")
            writer.write(b"lost\nlost\n")
        writer.write(b"after\n")
    assert (tmp_path / "log").read_text().splitlines()[1:] == ["after", "log lines dropped: 3"]
