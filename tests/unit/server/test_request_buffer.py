"""When a request is complete: after its last byte, or as soon as the parser must refuse it."""

import pytest

from vmapi.api.request.body import MAX_BODY_BYTES
from vmapi.server.request_buffer import MAX_ENCODED_BYTES, RequestBuffer

POST = b"POST /api/v1/vms HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

COMPLETE_REQUESTS = [
    b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET /livez HTTP/1.0\r\n\r\n",
    POST + b"Content-Length: 0\r\n\r\n",
    POST + b"content-LENGTH:  5 \r\nAccept: */*\r\n\r\n\r\n\r\nx",
    CHUNKED + b"0\r\n\r\n",
    # the data of a chunk looks like the end of the body
    CHUNKED + b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
    CHUNKED + b"a;ext=1\r\n0123456789\r\n000\r\nX-Trailer: 1\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", COMPLETE_REQUESTS)
def test_request_is_complete_with_its_last_byte(request_bytes: bytes) -> None:
    buffer = RequestBuffer()
    for position in range(len(request_bytes)):
        assert not buffer.is_complete, request_bytes[:position]
        buffer.append(request_bytes[position : position + 1])
    assert buffer.is_complete
    assert bytes(buffer) == request_bytes


@pytest.mark.parametrize("request_bytes", COMPLETE_REQUESTS)
def test_pipelined_bytes_do_not_delay_a_request(request_bytes: bytes) -> None:
    assert RequestBuffer(request_bytes + b"GET /li").is_complete


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Transfer-Encoding: unknown\r\n\r\n",
        POST + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        POST + b"Content-Length: 50\r\nContent-Length: 5\r\n\r\n",
        CHUNKED + b"1\r\n \r\n" * 20_000,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        CHUNKED + b"nonsense\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1" * 9000,
        POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        CHUNKED + b"200000\r\n" + b"x" * 2 * MAX_BODY_BYTES,
        CHUNKED + b"1\r\nx\r\n" * (MAX_ENCODED_BYTES // 6 + 1),
        CHUNKED + b"0\r\nX-A: " + b"x" * MAX_ENCODED_BYTES,
    ],
)
def test_request_that_must_be_refused_is_complete_at_once(request_bytes: bytes) -> None:
    assert RequestBuffer(request_bytes).is_complete


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"GET /livez HTTP/1.1", "liveness"),
        (b"HEAD /readyz?verbose HTTP/1.1", "readiness"),
        (b"GET /api/v1/health HTTP/1.0", "liveness"),
        (b"POST /livez HTTP/1.1", None),
        (b"GET /livez/x HTTP/1.1", None),
        (b"GET //livez HTTP/1.1", None),
        (b"GET /api/v1/vms HTTP/1.1", "vms"),
        (b"HEAD /api/v1/vms?page_size=5 HTTP/1.1", "vms"),
        (b"GET /api/v1/vms/some-id HTTP/1.1", "vms"),
        (b"GET /api/v1/vms/some-id/status?x HTTP/1.1", "vms"),
        (b"GET /api/v1/vms/some-id/console HTTP/1.1", None),
        (b"POST /api/v1/vms HTTP/1.1", None),
        (b"GET /api/v1/events HTTP/1.1", None),
    ],
)
def test_kind_of_a_read_is_known_by_its_first_line(line: bytes, kind: str | None) -> None:
    assert RequestBuffer(line + b"\r\nHost: a\r\n\r\n").kind == kind
