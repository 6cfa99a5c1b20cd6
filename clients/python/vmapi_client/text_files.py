"""Text files of the user: bounded in size, and a silent pipe ends with an error."""

import errno
import os
import select
import stat
from typing import BinaryIO

SILENT_PIPE_SECONDS = 5.0
CHUNK_BYTES = 1 << 16


def read_text_file(path: str | os.PathLike[str], max_bytes: int) -> tuple[str, int]:
    """Return the UTF-8 text of a file, and its permission bits.

    Raises OSError if it cannot be read, and ValueError if it is too long or no UTF-8.
    """
    # without O_NONBLOCK, a pipe waits for a writer
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            content = _read_bytes(file, max_bytes, may_stall=not stat.S_ISREG(mode))
    finally:
        os.close(descriptor)
    # editors write a byte order mark
    return content.decode("utf-8-sig"), stat.S_IMODE(mode)


def describe_file_error(error: Exception) -> str:
    """Return the reason of an error of `read_text_file`, without the path."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(getattr(error, "strerror", None) or error)


def _read_bytes(file: BinaryIO, max_bytes: int, *, may_stall: bool) -> bytes:
    content = bytearray()
    while len(content) <= max_bytes:
        if may_stall:
            _wait_readable(file)
        chunk = file.read(CHUNK_BYTES)
        if not chunk:
            return bytes(content)
        content += chunk
    raise ValueError(f"it has more than {max_bytes} bytes")


def _wait_readable(file: BinaryIO) -> None:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    if not poll.poll(SILENT_PIPE_SECONDS * 1000):
        raise TimeoutError(f"it sends nothing for {SILENT_PIPE_SECONDS:g} s")
