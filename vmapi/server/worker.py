"""The gunicorn worker: the threaded one, in which no client occupies a thread by being slow.

`gunicorn_config.py` names the class. Each method overrides one of gunicorn's `ThreadWorker`:

- `accept`, `enqueue_req` and `finish_request` let the poller read requests and send responses; a
  thread only runs the app. The readiness probe has a separate thread.
- `enqueue_req` and `wait_for_and_dispatch_events` serve liveness probes and reads of VMs in the
  poller thread, unless they would wait.
- `handle_request` leaves a detached body, for example an event stream, to the poller thread.
- `accept` survives a lack of file descriptors or memory: it pauses.
- `handle_exit` and `handle_quit` set the draining flag: /readyz responds 503 and streams end.
- `set_accept_enabled` closes the listening sockets at the beginning of a stop. gunicorn closes them
  at the end and so accepts connections that it then resets.
- `handle_error` responds to a request that is not valid HTTP with a problem document.
"""

import errno
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from vmapi.api.request.client_connection import limit_unread_bytes
from vmapi.api.request.detached_body import BodyDetached
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.server import open_files
from vmapi.server.accept_errors import EXHAUSTION_ERRORS, NO_CONNECTION_ERRORS
from vmapi.server.body_writer import BodyWriter
from vmapi.server.connection import Connection
from vmapi.server.connection_poller import EXPIRY_CHECK_SECONDS, ConnectionPoller
from vmapi.server.error_response import malformed_response, problem_response
from vmapi.server.nonblocking_attempts import NonblockingAttempts
from vmapi.telemetry.metrics.catalog import MALFORMED_REQUESTS

MAX_DRAINED_BYTES = 4 * 1024 * 1024
"""How much of an unread request body is drained."""

ACCEPT_PAUSE_SECONDS = 0.1
"""How long a worker accepts nothing after the system refused it a connection."""

ACCEPT_OUTAGE_SECONDS = 60.0
"""How long the worker accepts fewer connections after a refusal. Each outage has one warning."""

POLL_SECONDS = 0.1
"""The longest wait for an event while accepting is paused, or the worker stops."""

RESPONSE_ERRORS = (
    errors.InvalidResponseHeader,  # type: ignore[attr-defined]
    errors.InvalidResponseHeaderName,  # type: ignore[attr-defined]
)
"""Parse errors of gunicorn that are about a response: a defect of vmapi, not of the client."""


class GunicornWorker(ThreadWorker):
    """A threaded gunicorn worker; its threads never wait for a client."""

    clients: ConnectionPoller
    streams: BodyWriter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._attempts = NonblockingAttempts()
        self._batch: list[Connection] = []
        self._accept_resumes_at = 0.0
        self._accept_refused_at = float("-inf")
        self._next_expiry_check_at = 0.0

    def run(self) -> None:
        """Serve requests until the worker stops."""
        cfg = self.cfg
        self.clients = ConnectionPoller(
            self.poller,
            keepalive_seconds=cfg.keepalive,
            max_head_bytes=cfg.limit_request_line
            + cfg.limit_request_fields * (cfg.limit_request_field_size + 2),
            serve=self.enqueue_req,
            reject=self._reject_head,
            stream=self._resume_stream,
            on_close=self._forget_connection,
        )
        # the checks of dependencies may take seconds
        self._readiness_executor = ThreadPoolExecutor(1, "readiness")
        self.streams = BodyWriter(self.clients, self.method_queue.defer)
        try:
            super().run()
        finally:
            self.streams.abort()
            self._readiness_executor.shutdown(wait=False)

    def accept(self, listener: Any) -> bool:  # type: ignore[override]
        """Accept a connection; return False if none waits or the system refuses it."""
        try:
            client, address = listener.accept()
        except OSError as error:
            self._handle_accept_error(error)
            return False
        self.nr_conns += 1
        self.clients.add(Connection(self.cfg, client, address, listener.getsockname()))
        return True

    def _handle_accept_error(self, error: OSError) -> None:
        if error.errno in NO_CONNECTION_ERRORS:
            return
        if error.errno not in EXHAUSTION_ERRORS:
            raise error
        now = time.monotonic()
        if now - self._accept_refused_at > ACCEPT_OUTAGE_SECONDS:
            self.log.warning(
                "no connection can be accepted at present",
                extra={"reason": error.strerror, "connections": self.nr_conns},
            )
        self._accept_refused_at = now
        self._accept_resumes_at = now + ACCEPT_PAUSE_SECONDS
        # the requests in flight need files and memory, too; a shortage of the whole system may
        # outlast the connections of one process, so that each thread keeps a connection
        least = 1 if error.errno == errno.EMFILE else self.cfg.threads
        self.worker_connections = max(least, self.nr_conns * 3 // 4)
        if self.alive:
            super().set_accept_enabled(False)

    def _reject_head(self, conn: Connection) -> None:
        self.handle_error(None, conn.sock, conn.client, errors.LimitRequestHeaders("head"))

    def _resume_stream(self, conn: Connection) -> None:
        self.streams.resume(conn)

    def _forget_connection(self, conn: Connection) -> None:
        self.nr_conns -= 1
        self.streams.forget(conn)

    def enqueue_req(self, conn: Any) -> None:
        """Serve the complete request of a connection, in this thread or in another."""
        kind = conn.request.kind
        if self._attempts.is_due(kind):
            # served when each request that has arrived by now is received
            self._batch.append(conn)
            return
        conn.hand_over_request()
        self._submit(conn, RepeatableRequest(), kind)

    def _serve_batch(self) -> None:
        """Serve reads in this thread, unless they would wait."""
        # requests that clients pipelined behind these are the next batch
        connections, self._batch = self._batch, []
        serve = partial(self._serve_batched, object())
        for conn in connections:
            self.clients.run(conn, serve)

    def _serve_batched(self, batch: object, conn: Connection) -> None:
        request, received = RepeatableRequest(batch), conn.hand_over_request()
        if not self._serve_without_waiting(conn, request, received):
            self._submit(conn, request)

    def _submit(
        self, conn: Connection, request: RepeatableRequest, kind: str | None = None
    ) -> None:
        """Serve a request in another thread."""
        self.clients.ignore_events(conn)
        executor = self._readiness_executor if kind == "readiness" else self.tpool
        future = executor.submit(request.serve_again, partial(self.handle, conn))
        future.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, conn, done)
        )

    def _serve_without_waiting(
        self, conn: Connection, request: RepeatableRequest, received: bytes
    ) -> bool:
        """Serve a read in this thread; return False if it would wait."""
        try:
            keepalive = request.serve_without_waiting(partial(self.handle, conn))
        except WouldBlock:
            self._attempts.record_failure()
            conn.hand_over_again(received)
            return False
        self._attempts.record_success()
        self.clients.finish(conn, keepalive=bool(keepalive))
        return True

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Let the poller send the rest of the response."""
        is_served = not fs.cancelled() and fs.exception() is None
        self.clients.finish(conn, keepalive=is_served and bool(fs.result()))

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve a request that arrived in full, or has a body too large to be read."""
        # the poller has sent the interim response
        req._expected_100_continue = False
        if not conn.has_whole_body(req):
            req.force_close()
        # a response leaves when it is complete: a body that grows must be detached
        with conn.sock.corked():
            try:
                return super().handle_request(req, conn)
            except BodyDetached as detached:
                return self._take_over_body(req, conn, detached)

    def _take_over_body(self, req: Any, conn: Connection, detached: BodyDetached) -> bool:
        """Leave the rest of a response to the poller.

        Return whether the connection serves other requests after it. The conditions are those of
        the head, which gunicorn has written.
        """
        limit_unread_bytes(conn.sock)
        conn.body = detached.body
        conn.is_chunked = req.version > (1, 0)
        self.streams.announce(conn)
        keeps_alive = self.alive and bool(self.cfg.keepalive) and not req.should_close()
        return conn.is_chunked and keeps_alive and conn.has_no_body(req)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        return keepalive and bool(conn.parser.finish_body(max_bytes=MAX_DRAINED_BYTES))

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """Wait for events of sockets, shortly if accepting is paused or the worker stops.

        Then serve the batch of reads, and write to streams.
        """
        is_paused = time.monotonic() < self._accept_resumes_at
        if is_paused or not self.alive:
            timeout = POLL_SECONDS
        super().wait_for_and_dispatch_events(0 if self._batch else self.streams.limit_wait(timeout))
        self._serve_batch()
        self.streams.write_ready()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close expired connections, and the oldest ones if the worker could accept no other."""
        now = time.monotonic()
        if now >= self._next_expiry_check_at:
            self._next_expiry_check_at = now + EXPIRY_CHECK_SECONDS
            self.clients.close_expired()
            self.streams.check_due()
            self.streams.limit(open_files.max_streams(self.worker_connections))
            if now - self._accept_refused_at > ACCEPT_OUTAGE_SECONDS:
                self.worker_connections = self.cfg.worker_connections
        while self.nr_conns >= self.worker_connections and self.clients.close_oldest():
            pass

    def _cap_keepalive(self, deadline: float) -> None:
        self.streams.end_all()
        self.clients.limit_waits(deadline)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Mark the process as draining, and stop gracefully (SIGTERM)."""
        self._mark_draining()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once (SIGQUIT, SIGINT).

        Skips the shutdown of the thread pool: the interrupted main thread may hold the pool's lock.
        """
        self._mark_draining()
        super(ThreadWorker, self).handle_quit(sig, frame)

    def _mark_draining(self) -> None:
        app = getattr(self, "wsgi", None)
        if app is not None:
            app.extensions["vmapi"].draining.set()

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Pause or resume the accepting of connections; when stopping, close the listeners.

        Connections that wait are accepted first: the close of a listener resets them.
        """
        if self.alive:
            is_paused = time.monotonic() < self._accept_resumes_at
            super().set_accept_enabled(bool(enabled) and not is_paused)
            return
        for listener in self.sockets:
            while self.accept(listener):
                pass
        super().set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        # gunicorn calls this twice if the stop begins while accepting is disabled
        self.sockets = []

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Respond to a request that failed before it reached the app."""
        context = {"request_id": f"req-{uuid.uuid4()}"}
        if isinstance(exc, errors.ParseException) and not isinstance(exc, RESPONSE_ERRORS):
            # without its text, which quotes the request: a token in the URL, a header
            reason = type(exc).__name__
            MALFORMED_REQUESTS.increment(reason)
            self.log.warning("request could not be parsed: %s", reason, extra=context)
            response = malformed_response(self.cfg, exc, **context)
        else:
            self.log.error("request failed outside the app", exc_info=exc, extra=context)
            detail = "vmapi failed to process the request."
            response = problem_response("internal_error", detail, **context)
        try:
            util.write_nonblock(client, response)
        except OSError:
            self.log.debug("client has disconnected", extra=context)
