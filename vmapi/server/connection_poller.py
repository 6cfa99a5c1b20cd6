"""The connections that wait for their clients: the poller reads and sends, and no thread waits.

A request goes to a thread when it has arrived in full. The rest of a response is sent as the client
reads it. A phase has a deadline, and memory and the number of connections are limited: the
connection that has waited longest is closed first, so that a client that sends is always served.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from vmapi.api.request.client_connection import WRITE_TIMEOUT_SECONDS
from vmapi.server.connection import Connection, ConnectionPhase
from vmapi.server.request_buffer import RequestBuffer

HEAD_TIMEOUT_SECONDS = 15.0
"""The time for a head, from the connection or its first byte, as in nginx.conf."""

BODY_TIMEOUT_SECONDS = 60.0
"""The time of a body from the end of the head: 1 MiB at 140 kbit/s."""

CLOSING_TIMEOUT_SECONDS = 5.0
"""How long a closing connection discards received bytes (RFC 9112, section 9.6)."""

EXPIRY_CHECK_SECONDS = 0.25
"""Seconds between two searches for expired phases, and for due heartbeats of streams."""

MAX_DISCARDED_BYTES = 4 * 1024 * 1024
MAX_HELD_BYTES = 64 * 1024 * 1024
"""Bytes of requests and responses that all connections of a process may hold."""

RECEIVE_BYTES = 64 * 1024
RECEIVE_AHEAD_BYTES = 4096
"""Bytes of the next request that the process holds during a stream."""

INTERIM_RESPONSE = b"HTTP/1.1 100 Continue\r\n\r\n"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

log = structlog.get_logger("vmapi.server")


class ConnectionPoller:
    """The open connections of a worker. All methods run in the main thread.

    `serve` gets a connection with a complete request, `reject` one with a head that is too large,
    `stream` one with a detached body after its earlier bytes are sent. `on_close` runs for each
    closed connection.
    """

    def __init__(
        self,
        poller: selectors.BaseSelector,
        *,
        keepalive_seconds: float,
        max_head_bytes: int,
        serve: Callable[[Connection], None],
        reject: Callable[[Connection], None],
        stream: Callable[[Connection], None],
        on_close: Callable[[Connection], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poller = poller
        self._clock = clock
        self._timeouts = _phase_timeouts(keepalive_seconds)
        self._max_head_bytes = max_head_bytes
        self._serve, self._reject = serve, reject
        self._stream, self._on_close = stream, on_close
        self._steps = {
            ConnectionPhase.SENDING: self._send,
            ConnectionPhase.STREAMING: self._receive_ahead,
            ConnectionPhase.CLOSING: self._discard,
        }
        # ordered: the connection that has waited longest is first
        self._waiting: dict[Connection, None] = {}
        self._held_bytes = 0

    def add(self, conn: Connection) -> None:
        """Read the first request of a new connection."""
        self.run(conn, self._receive)

    def ignore_events(self, conn: Connection) -> None:
        """Stop watching the socket of a connection while another thread serves its request."""
        if conn.watched_events:
            self._poller.unregister(conn.sock)
            conn.watched_events = 0

    def finish(self, conn: Connection, keepalive: bool) -> None:
        """Send the rest of a response, then read the next request or close the connection.

        A detached body comes in between.
        """
        conn.keepalive = keepalive
        self.run(conn, self._send)

    def run(self, conn: Connection, step: Callable[[Connection], None]) -> None:
        """Run one step; close the connection if it fails, and keep the worker alive."""
        try:
            step(conn)
        except OSError:
            self._close(conn)
        except Exception:
            log.exception("connection failed")
            self._close(conn)

    def close(self, conn: Connection) -> None:
        """Close a connection at once."""
        self._close(conn)

    def close_expired(self) -> None:
        """Close the connections in a phase that has lasted too long."""
        now = self._clock()
        for conn in [conn for conn in self._waiting if conn.deadline <= now]:
            self._close(conn)

    def close_oldest(self) -> bool:
        """Close the connection that has waited longest; return False if none waits."""
        if oldest := next(iter(self._waiting), None):
            self._close(oldest)
        return oldest is not None

    def limit_waits(self, deadline: float) -> None:
        """Close every connection that reads no response by a deadline at the latest.

        A phase that begins later gets the time that a phase has at the call.
        """
        seconds = deadline - self._clock()
        for phase in (ConnectionPhase.HEAD, ConnectionPhase.BODY, ConnectionPhase.IDLE):
            self._timeouts[phase] = min(self._timeouts[phase], seconds)
        for conn in self._waiting:
            if conn.phase is not ConnectionPhase.SENDING:
                conn.deadline = min(conn.deadline, deadline)

    def _receive(self, conn: Connection) -> None:
        try:
            received = conn.sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._wait(conn, conn.phase)
            return
        if not received:
            self._close(conn)
            return
        conn.request.append(received)
        self._advance(conn)

    def _advance(self, conn: Connection) -> None:
        """Serve a complete request, else wait for more of it."""
        if conn.request.is_complete:
            self._waiting.pop(conn, None)
            conn.phase = ConnectionPhase.SERVED
            self._serve(conn)
        elif conn.request.has_head:
            if conn.phase is not ConnectionPhase.BODY and conn.request.awaits_continue:
                conn.sock.sendall(INTERIM_RESPONSE)
            self._wait(conn, ConnectionPhase.BODY)
        elif len(conn.request) > self._max_head_bytes:
            self._reject(conn)
            self.finish(conn, keepalive=False)
        else:
            self._wait(conn, ConnectionPhase.HEAD if len(conn.request) else ConnectionPhase.IDLE)

    def _send(self, conn: Connection) -> None:
        is_sent = conn.sock.flush()
        if not is_sent:
            self._wait(conn, ConnectionPhase.SENDING)
        elif conn.body is not None:
            self._wait_for_body(conn)
        elif conn.keepalive:
            conn.take_back_unread()
            self._advance(conn)
        else:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.request = RequestBuffer()
            self._wait(conn, ConnectionPhase.CLOSING)

    def _wait_for_body(self, conn: Connection) -> None:
        """Watch the client while its stream is silent. Such a connection never expires."""
        self._waiting.pop(conn, None)
        conn.phase = ConnectionPhase.STREAMING
        self._account(conn, conn.held_bytes)
        if len(conn.request):
            self.ignore_events(conn)
        else:
            self._watch_events(conn, selectors.EVENT_READ)
        self._stream(conn)

    def _receive_ahead(self, conn: Connection) -> None:
        """Close the connection at the client's end; hold bytes of its next request.

        The client is not read on, so that TCP delays it until the stream ends.
        """
        received = conn.sock.recv(RECEIVE_AHEAD_BYTES, socket.MSG_DONTWAIT)
        if not received:
            self._close(conn)
            return
        conn.request.append(received)
        self.ignore_events(conn)
        self._account(conn, conn.held_bytes)

    def _discard(self, conn: Connection) -> None:
        received = conn.sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        conn.discarded_bytes += len(received)
        if not received or conn.discarded_bytes > MAX_DISCARDED_BYTES:
            self._close(conn)

    def _wait(self, conn: Connection, phase: ConnectionPhase) -> None:
        """Watch the socket for the event of a phase. Progress in sending is a new phase."""
        if phase is not conn.phase or conn not in self._waiting or conn.sock.unsent_bytes:
            self._watch(conn, phase)
        # last: this may close the connection
        self._account(conn, conn.held_bytes)

    def _watch(self, conn: Connection, phase: ConnectionPhase) -> None:
        self._waiting.pop(conn, None)
        conn.phase = phase
        since = conn.sock.last_sent_at if phase is ConnectionPhase.SENDING else self._clock()
        conn.deadline = since + self._timeouts[phase]
        self._waiting[conn] = None
        is_sending = phase is ConnectionPhase.SENDING
        self._watch_events(conn, selectors.EVENT_WRITE if is_sending else selectors.EVENT_READ)

    def _watch_events(self, conn: Connection, events: int) -> None:
        # most connections wait for the next request again: that needs no system call
        if events != conn.watched_events:
            watch = self._poller.modify if conn.watched_events else self._poller.register
            watch(conn.sock, events, partial(self._on_ready, conn))
            conn.watched_events = events

    def _on_ready(self, conn: Connection, _: Any) -> None:
        # an earlier event of the same poll may have closed the connection
        if conn in self._waiting or conn.phase is ConnectionPhase.STREAMING:
            self.run(conn, self._steps.get(conn.phase, self._receive))

    def _close(self, conn: Connection) -> None:
        if conn.phase is ConnectionPhase.CLOSED:
            return
        self._waiting.pop(conn, None)
        self.ignore_events(conn)
        conn.phase = ConnectionPhase.CLOSED
        self._account(conn, 0)
        if conn.sock.unsent_bytes:
            # without a reset, the kernel would keep the rest of the response for minutes
            with suppress(OSError):
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        conn.close()
        self._on_close(conn)

    def _account(self, conn: Connection, held_bytes: int) -> None:
        self._held_bytes += held_bytes - conn.accounted_bytes
        conn.accounted_bytes = held_bytes
        while self._held_bytes > MAX_HELD_BYTES and (heavy := self._find_heavy()):
            self._close(heavy)

    def _find_heavy(self) -> Connection | None:
        """Return the oldest waiting connection that holds half the average or more.

        With the whole average, one large request would outweigh many slow clients of one size.
        """
        waiting_bytes = sum(conn.accounted_bytes for conn in self._waiting)
        doubled_count = 2 * len(self._waiting)
        heavy = (c for c in self._waiting if c.accounted_bytes * doubled_count >= waiting_bytes)
        return next(heavy, None) if waiting_bytes else None


def _phase_timeouts(keepalive_seconds: float) -> dict[ConnectionPhase, float]:
    """Return the seconds of each phase; a streaming connection has no timeout."""
    return {
        ConnectionPhase.HEAD: HEAD_TIMEOUT_SECONDS,
        ConnectionPhase.BODY: BODY_TIMEOUT_SECONDS,
        ConnectionPhase.IDLE: keepalive_seconds,
        ConnectionPhase.SENDING: WRITE_TIMEOUT_SECONDS,
        ConnectionPhase.CLOSING: CLOSING_TIMEOUT_SECONDS,
    }
