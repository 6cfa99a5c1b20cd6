"""The connections with a detached body: one thread, the poller's, writes to all of them.

A body is read when it has new bytes, when a heartbeat is due, and when the socket has accepted the
earlier bytes. Reads that have to wait, and the checks of credentials, have a few threads for all
streams. Writing yields to other clients every few milliseconds.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice

import structlog

from vmapi.api.request.detached_body import DetachedBody
from vmapi.concurrency.fair_executor import FairExecutor
from vmapi.concurrency.nonblocking import WouldBlock
from vmapi.server.connection import Connection, ConnectionPhase
from vmapi.server.connection_poller import EXPIRY_CHECK_SECONDS, ConnectionPoller

WRITE_SLICE_SECONDS = 0.002
"""How long the writer delays other clients at most, beyond one write."""

LOADING_THREADS = 2

CREDENTIALS_CHECK_SECONDS = 1.0
"""Seconds between two checks of the credentials of all streams."""

log = structlog.get_logger("vmapi.server")


class BodyWriter:
    """The streams of a worker. All methods but `announce` run in the main thread.

    `defer` lets the main thread call a function; any thread may call it.
    """

    def __init__(
        self,
        clients: ConnectionPoller,
        defer: Callable[..., None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = clients
        self._defer = defer
        self._clock = clock
        # threads start with the first task
        self._loader = FairExecutor(LOADING_THREADS, "stream-loader")
        self._checker = ThreadPoolExecutor(1, "stream-credentials")
        # ordered: the oldest stream is first
        self._streams: dict[Connection, DetachedBody] = {}
        self._ready: OrderedDict[Connection, None] = OrderedDict()
        self._announced: set[Connection] = set()
        self._loading: set[Connection] = set()
        self._next_check_at = 0.0
        self._is_checking = self._is_stopping = self._is_aborted = False

    def limit_wait(self, timeout: float | None) -> float | None:
        """Return how long the poller may wait for events of sockets."""
        if self._ready:
            return 0.0
        if not self._streams:
            return timeout
        return EXPIRY_CHECK_SECONDS if timeout is None else min(timeout, EXPIRY_CHECK_SECONDS)

    def announce(self, conn: Connection) -> None:
        """Remember a new stream until the main thread resumes it, or has aborted all streams."""
        self._announced.add(conn)
        if self._is_aborted:
            self._end_announced()

    def resume(self, conn: Connection) -> None:
        """Write to a connection after its earlier bytes are sent."""
        assert conn.body is not None
        self._announced.discard(conn)
        if conn not in self._streams:
            self._streams[conn] = conn.body
            conn.body.notify(self._notify)
            if self._is_stopping:
                conn.body.end()
        self._ready[conn] = None

    def write_ready(self) -> None:
        """Write to ready connections; leave the rest for later after a few milliseconds."""
        deadline = self._clock() + WRITE_SLICE_SECONDS
        while self._ready:
            conn, _ = self._ready.popitem(last=False)
            if conn.phase is ConnectionPhase.STREAMING and conn not in self._loading:
                self._write(conn)
            if self._clock() >= deadline:
                return

    def check_due(self) -> None:
        """Find the streams with a due heartbeat, a due end, or refused credentials."""
        now = self._clock()
        self._ready.update(
            (conn, None) for conn, body in self._streams.items() if body.due_at <= now
        )
        if now >= self._next_check_at and not self._is_checking and self._streams:
            self._next_check_at = now + CREDENTIALS_CHECK_SECONDS
            bodies = {body.credentials: body for body in self._streams.values()}
            # without a free thread, the next check is due in a second
            with suppress(RuntimeError):
                future = self._checker.submit(_find_refused, bodies)
                self._is_checking = True
                future.add_done_callback(partial(self._defer, self._end_refused))

    def limit(self, count: int) -> None:
        """End the oldest streams beyond a number, and close their connections."""
        excess = len(self._streams) - count
        for conn in list(islice(self._streams, max(0, excess))):
            conn.keepalive = False
            self._end(conn)
            self._clients.close(conn)

    def end_all(self) -> None:
        """End all streams, and those that begin later, as far as their clients read."""
        self._is_stopping = True
        for body in self._streams.values():
            body.end()
        self._ready.update(dict.fromkeys(self._streams))

    def abort(self) -> None:
        """End all streams at once: the process exits, maybe out of the middle of a write."""
        self._is_aborted = True
        for conn in self._streams:
            _send_end(conn)
        self._end_announced()
        self._loader.shutdown()
        self._checker.shutdown(wait=False, cancel_futures=True)

    def forget(self, conn: Connection) -> None:
        """Release the body of a closed connection, or of a stream that has ended."""
        body = self._streams.pop(conn, None) or conn.body
        conn.body = None
        self._announced.discard(conn)
        self._ready.pop(conn, None)
        if body is not None:
            body.release()

    def _end_announced(self) -> None:
        # each stream has one end, even if two threads end them
        with suppress(KeyError):
            while True:
                _send_end(self._announced.pop())

    def _notify(self) -> None:
        self._defer(self._mark_all_ready)

    def _mark_all_ready(self) -> None:
        self._ready.update(dict.fromkeys(self._streams))

    def _write(self, conn: Connection) -> None:
        try:
            data = self._streams[conn].read()
        except WouldBlock:
            self._clients.run(conn, self._load)
        except Exception:
            log.exception("response body failed")
            self._clients.close(conn)
        else:
            if data is None:
                self._end(conn)
            elif data:
                conn.send_body(data)
                self._clients.finish(conn, conn.keepalive)

    def _end(self, conn: Connection) -> None:
        conn.end_body()
        self.forget(conn)
        self._clients.finish(conn, conn.keepalive)

    def _load(self, conn: Connection) -> None:
        body = self._streams[conn]
        # a caller with many streams does not delay those of others
        future = self._loader.submit(body.credentials, body.load)
        self._loading.add(conn)
        future.add_done_callback(partial(self._defer, self._finish_load, conn))

    def _finish_load(self, conn: Connection, future: Future[None]) -> None:
        self._loading.discard(conn)
        if future.cancelled() or conn not in self._streams:
            return
        if error := future.exception():
            log.error("response body failed", exc_info=error)
            self._clients.close(conn)
        else:
            self._ready[conn] = None

    def _end_refused(self, future: Future[set[Hashable]]) -> None:
        self._is_checking = False
        refused = set() if future.cancelled() else future.result()
        for conn, body in self._streams.items() if refused else ():
            if body.credentials in refused:
                body.end()
                self._ready[conn] = None


def _send_end(conn: Connection) -> None:
    """Send the end of a body. A stream with unsent bytes breaks off."""
    if not conn.sock.unsent_bytes:
        conn.end_body()
        with suppress(OSError):
            conn.sock.flush()


def _find_refused(bodies: Mapping[Hashable, DetachedBody]) -> set[Hashable]:
    return {credentials for credentials, body in bodies.items() if not _is_permitted(body)}


def _is_permitted(body: DetachedBody) -> bool:
    try:
        return body.is_permitted()
    except Exception:
        log.exception("credentials could not be checked")
        return False
