"""One connection of a client, between two requests or within one."""

from enum import Enum
from typing import Any

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from vmapi.api.request.detached_body import DetachedBody
from vmapi.server.client_socket import ClientSocket
from vmapi.server.request_buffer import RequestBuffer

LAST_CHUNK = b"0\r\n\r\n"


class ConnectionPhase(Enum):
    """The event that the server waits for on a connection."""

    HEAD = "head"
    BODY = "body"
    SERVED = "served"
    SENDING = "sending"
    STREAMING = "streaming"
    IDLE = "idle"
    CLOSING = "closing"
    CLOSED = "closed"


class Connection(TConn):
    """A connection on which a request arrives in full before a thread serves it.

    `deadline` is the monotonic time, in seconds, at which the phase ends. `accounted_bytes` is
    the share of the connection in the memory limit. `watched_events` are the events of
    the socket that the poller waits for. `body` is the rest of a response that no thread holds;
    `is_chunked` is its framing (RFC 9112, section 7.1).
    """

    sock: ClientSocket

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any) -> None:
        super().__init__(cfg, ClientSocket(sock), client, server)
        # TLS and HTTP/2 are the proxy's: the parser reads from the buffer only
        self.initialized = True
        self.parser: Any = get_parser(cfg, (), client)
        self.request = RequestBuffer()
        self.phase = ConnectionPhase.HEAD
        self.deadline = 0.0
        self.keepalive = False
        self.accounted_bytes = 0
        self.discarded_bytes = 0
        self.watched_events = 0
        self.body: DetachedBody | None = None
        self.is_chunked = False

    @property
    def held_bytes(self) -> int:
        """The bytes of requests and responses that the process holds for the connection."""
        return len(self.request) + self.sock.unsent_bytes

    def hand_over_request(self) -> bytes:
        """Give the received bytes to the parser, and return them."""
        received = bytes(self.request)
        self.parser.unreader.unread(received)
        self.request = RequestBuffer()
        return received

    def hand_over_again(self, received: bytes) -> None:
        """Give the bytes of a request that was parsed already to a new parser."""
        parsed_requests = self.parser.req_count
        self.parser = get_parser(self.cfg, (), self.client)
        self.parser.req_count = parsed_requests - 1
        self.parser.unreader.unread(received)

    def take_back_unread(self) -> None:
        """Begin the next request with the bytes that the client pipelined."""
        received = self.parser.unreader.take_buffered()
        if len(self.request):
            # these arrived during a stream
            received += bytes(self.request)
        self.request = RequestBuffer(received)

    def send_body(self, data: bytes) -> None:
        """Put bytes of a detached body into the socket's buffer; its next flush sends them."""
        parts = (b"%x\r\n" % len(data), data, b"\r\n") if self.is_chunked else (data,)
        self._buffer(*parts)

    def end_body(self) -> None:
        """Put the end of a detached body into the socket's buffer."""
        if self.is_chunked:
            self._buffer(LAST_CHUNK)

    def _buffer(self, *parts: bytes) -> None:
        self.sock.is_corked = True
        for part in parts:
            self.sock.sendall(part)
        self.sock.is_corked = False

    def has_whole_body(self, req: Any) -> bool:
        """Return whether a request with a declared length arrived in full."""
        length: int = getattr(req.body.reader, "length", 0)
        received: int = self.parser.unreader.buf.getbuffer().nbytes
        return length <= received

    def has_no_body(self, req: Any) -> bool:
        """Return whether a request is without a body."""
        return getattr(req.body.reader, "length", None) == 0
