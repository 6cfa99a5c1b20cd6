"""The bytes of a request, collected until a thread can serve it without waiting for the client.

The framing here is a hint: it decides when a request goes to a thread. gunicorn's parser interprets
the request, and refuses malformed bytes.
"""

import re

from vmapi.api.request.body import MAX_BODY_BYTES

HEAD_END = b"\r\n\r\n"
BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
"""An error that the parser reports at once."""

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n")
CONTENT_LENGTH_NAME = b"\r\ncontent-length:"
TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:([^\r]*)")
EXPECT_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")
REQUEST_LINE = re.compile(
    rb"(?:GET|HEAD) "
    rb"(?:(?P<readiness>/readyz)"
    rb"|(?P<liveness>/livez|/api/v[0-9]+/health)"
    rb"|(?P<vms>/api/v[0-9]+/vms(?:/[^/? ]+(?:/status)?)?))"
    rb"[? ]"
)

MAX_DECODED_BYTES = MAX_BODY_BYTES + 64 * 1024
"""Bytes of a chunked body after which the app refuses it; the app reads 64 KiB at a time."""

MAX_ENCODED_BYTES = 4 * MAX_BODY_BYTES
"""Bytes of a chunked body, with the sizes of its chunks, after which the app refuses it."""

MAX_CHUNK_LINE_BYTES = 8190

MAX_CHUNK_OVERHEAD_BYTES = 64 * 1024
"""Bytes of chunk lines beyond one for each byte of data: more only slows the poller down."""


class RequestBuffer:
    """The received bytes of one request, and of those that the client pipelined behind it."""

    def __init__(self, received: bytes = b"") -> None:
        self._data = bytearray(received)
        self._searched = 0
        self._body: _FixedBody | _ChunkedBody | None = None

    def __len__(self) -> int:
        return len(self._data)

    def append(self, received: bytes) -> None:
        """Add bytes of the client."""
        self._data += received

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    @property
    def has_head(self) -> bool:
        """Whether the head of the request is complete."""
        if self._body is None:
            end = self._data.find(HEAD_END, self._searched)
            if end >= 0:
                self._body = _find_body(bytes(self._data[: end + len(HEAD_END)]).lower())
            elif BARE_LINE_FEED.search(self._data, self._searched):
                self._body = _FixedBody(0)
            self._searched = max(0, len(self._data) - len(HEAD_END))
        return self._body is not None

    @property
    def is_complete(self) -> bool:
        """Whether a thread can serve the request: it is complete, malformed or too large."""
        return self.has_head and self._body is not None and self._body.is_complete(self._data)

    @property
    def awaits_continue(self) -> bool:
        """Whether the client waits for an interim response (RFC 9110, section 10.1.1)."""
        head = self._data[: self._data.find(HEAD_END) + len(HEAD_END)]
        return EXPECT_CONTINUE.search(head.lower()) is not None

    @property
    def kind(self) -> str | None:
        """The kind of a read: `liveness`, `readiness` or `vms`; None for another request."""
        match = REQUEST_LINE.match(self._data)
        return match and match.lastgroup


class _FixedBody:
    """A body with a length that the head declares."""

    def __init__(self, end: int) -> None:
        self._end = end

    def is_complete(self, data: bytearray) -> bool:
        return len(data) >= self._end


class _ChunkedBody:
    """A body in chunks (RFC 9112, section 7.1)."""

    def __init__(self, start: int) -> None:
        self._start = self._position = start
        self._decoded_bytes = 0
        self._is_in_trailers = False

    def is_complete(self, data: bytearray) -> bool:
        while not self._is_in_trailers:
            line_end = data.find(b"\r\n", self._position)
            if line_end < 0:
                return len(data) - self._position > MAX_CHUNK_LINE_BYTES or self._is_too_large(data)
            size = _chunk_size(data[self._position : line_end])
            if size is None:
                return True
            self._decoded_bytes += size
            if line_end - self._start > MAX_CHUNK_OVERHEAD_BYTES + 2 * self._decoded_bytes:
                return True
            self._is_in_trailers = size == 0
            # the end of the line of the last chunk may end the trailers
            self._position = line_end + size + 4 if size else line_end
        if data.find(HEAD_END, self._position) >= 0:
            return True
        self._position = max(self._position, len(data) - 3)
        return self._is_too_large(data)

    def _is_too_large(self, data: bytearray) -> bool:
        missing_bytes = max(0, self._position - len(data))
        return (
            len(data) - self._start > MAX_ENCODED_BYTES
            or self._decoded_bytes - missing_bytes > MAX_DECODED_BYTES
        )


def _find_body(head: bytes) -> _FixedBody | _ChunkedBody:
    codings, lengths = TRANSFER_ENCODING.findall(head), head.count(CONTENT_LENGTH_NAME)
    is_chunked = bool(codings) and codings[-1].rstrip().endswith(b"chunked")
    # the parser refuses any other framing, and two of them
    if len(codings) + lengths > 1 or (codings and not is_chunked):
        return _FixedBody(len(head))
    if is_chunked:
        return _ChunkedBody(len(head))
    declared = CONTENT_LENGTH.search(head)
    length = int(declared[1]) if declared else 0
    # vmapi refuses a larger body without reading it
    return _FixedBody(len(head) + (length if length <= MAX_BODY_BYTES else 0))


def _chunk_size(line: bytearray) -> int | None:
    try:
        size = int(line.split(b";")[0], 16)
    except ValueError:
        return None
    return size if size >= 0 else None
