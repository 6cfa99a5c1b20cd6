"""The worker process of gunicorn: its threaded one, with better manners at the door."""

import time
import uuid
from typing import Any

import orjson
from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from vmapi.api.middleware.security_headers import SECURITY_HEADERS
from vmapi.api.problems.types import PROBLEM_TYPES

SECURITY_HEADER_BLOCK = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
RESPONSE_HEAD = (
    "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    "Cache-Control: no-store\r\n" + SECURITY_HEADER_BLOCK + "X-Request-ID: {request_id}\r\n"
    "Content-Length: {length}\r\n\r\n"
)
MAX_DRAINED_BYTES = 4 * 1024 * 1024
"""Bytes of a body that the app did not want which are read all the same."""

DRAIN_TIMEOUT = 5.0
"""Seconds after which they are not."""

RESPONSE_ERRORS = (
    errors.InvalidResponseHeader,  # type: ignore[attr-defined]
    errors.InvalidResponseHeaderName,  # type: ignore[attr-defined]
)


class Worker(ThreadWorker):
    """Says that it drains, shuts its door at once, and answers what is no HTTP with a problem."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Let /readyz say that this process drains, from SIGTERM on."""
        self._mark_draining()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once. The pool is left alone: what was interrupted may hold its lock."""
        self._mark_draining()
        super(ThreadWorker, self).handle_quit(sig, frame)

    def _mark_draining(self) -> None:
        app = getattr(self, "wsgi", None)
        if app is not None:
            app.extensions["vmapi"].draining.set()

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Once stopping, serve who is waiting already, and refuse all others.

        They would wait for the slowest answer of the others, and then be cut off.
        """
        if self.alive:
            super().set_accept_enabled(enabled)
            return
        for listener in self.sockets:
            self._accept_waiting(listener)
        super().set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()

    def _accept_waiting(self, listener: Any) -> None:
        before = -1
        while before != self.nr_conns:
            before = self.nr_conns
            self.accept(listener)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        # who is cut off while sending does not get to see the answer; gunicorn reads 64 KiB on
        deadline = time.monotonic() + DRAIN_TIMEOUT
        return bool(conn.parser.finish_body(deadline, MAX_DRAINED_BYTES)) and keepalive

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Answer a request that never reached the app."""
        told = {"request_id": f"req-{uuid.uuid4()}"}
        if isinstance(exc, errors.ParseException) and not isinstance(exc, RESPONSE_ERRORS):
            # its text would quote the request: a token in the URL, a header
            reason = type(exc).__name__
            self.log.warning("a request could not be read: %s", reason, extra=told)
            answer = _problem_response("malformed_request", self._describe(exc), **told)
        else:
            self.log.error("a request failed outside the app", exc_info=exc, extra=told)
            answer = _problem_response(
                "internal_error", "Something went wrong inside vmapi.", **told
            )
        try:
            util.write_nonblock(client, answer)
        except OSError:
            self.log.debug("the client is gone", extra=told)

    def _describe(self, exc: errors.ParseException) -> str:
        cfg = self.cfg
        if isinstance(exc, errors.LimitRequestLine):
            return f"The first line of a request has at most {cfg.limit_request_line} bytes."
        if isinstance(exc, errors.LimitRequestHeaders):
            return (
                f"A header has at most {cfg.limit_request_field_size} bytes, a request "
                f"{cfg.limit_request_fields} headers."
            )
        return "The request is no valid HTTP."


def _problem_response(code: str, detail: str, request_id: str) -> bytes:
    kind = PROBLEM_TYPES[code]
    members = {"type": f"/problems/{code}", "title": kind.title, "status": kind.status}
    body = orjson.dumps({**members, "code": code, "detail": detail, "request_id": request_id})
    reason = {400: "Bad Request", 500: "Internal Server Error"}[kind.status]
    head = RESPONSE_HEAD.format(
        status=kind.status, reason=reason, request_id=request_id, length=len(body)
    )
    return head.encode() + body
