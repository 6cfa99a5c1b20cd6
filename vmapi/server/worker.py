"""The gunicorn worker: the threaded one, with a clean stop and problem documents.

`config/gunicorn.conf.py` names the class. Each method overrides one of gunicorn's `ThreadWorker`:

- `handle_exit` and `handle_quit` set the draining flag: /readyz responds 503 and streams end.
- `set_accept_enabled` closes the listening sockets at the beginning of a stop. gunicorn closes them
  at the end and so accepts connections that it then resets.
- `_keepalive_after` drains a request body that the app has not read, before gunicorn closes the
  connection. Otherwise the client gets a reset while it sends, and not the response (a 413).
- `handle_error` responds to a request that is not valid HTTP with a problem document.
"""

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
"""How much of an unread request body is drained."""

DRAIN_TIMEOUT = 5.0
"""Seconds after which the drain stops."""

RESPONSE_ERRORS = (
    errors.InvalidResponseHeader,  # type: ignore[attr-defined]
    errors.InvalidResponseHeaderName,  # type: ignore[attr-defined]
)
"""Parse errors of gunicorn that are about a response: a defect of vmapi, not of the client."""


class GunicornWorker(ThreadWorker):
    """A threaded gunicorn worker that drains before it stops."""

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
            super().set_accept_enabled(enabled)
            return
        for listener in self.sockets:
            self._accept_waiting(listener)
        super().set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()

    def _accept_waiting(self, listener: Any) -> None:
        previous_count = -1
        while previous_count != self.nr_conns:
            previous_count = self.nr_conns
            self.accept(listener)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        deadline = time.monotonic() + DRAIN_TIMEOUT
        return bool(conn.parser.finish_body(deadline, MAX_DRAINED_BYTES)) and keepalive

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Respond to a request that failed before it reached the app."""
        context = {"request_id": f"req-{uuid.uuid4()}"}
        if isinstance(exc, errors.ParseException) and not isinstance(exc, RESPONSE_ERRORS):
            # without its text, which quotes the request: a token in the URL, a header
            reason = type(exc).__name__
            self.log.warning("request could not be parsed: %s", reason, extra=context)
            response = _problem_response("malformed_request", self._describe(exc), **context)
        else:
            self.log.error("request failed outside the app", exc_info=exc, extra=context)
            detail = "vmapi failed to process the request."
            response = _problem_response("internal_error", detail, **context)
        try:
            util.write_nonblock(client, response)
        except OSError:
            self.log.debug("client has disconnected", extra=context)

    def _describe(self, exc: errors.ParseException) -> str:
        cfg = self.cfg
        if isinstance(exc, errors.LimitRequestLine):
            return f"The first line of a request has at most {cfg.limit_request_line} bytes."
        if isinstance(exc, errors.LimitRequestHeaders):
            return (
                f"A header has at most {cfg.limit_request_field_size} bytes, a request "
                f"{cfg.limit_request_fields} headers."
            )
        return "The request is not valid HTTP."


def _problem_response(code: str, detail: str, request_id: str) -> bytes:
    problem = PROBLEM_TYPES[code]
    members = {"type": f"/problems/{code}", "title": problem.title, "status": problem.status}
    body = orjson.dumps({**members, "code": code, "detail": detail, "request_id": request_id})
    reason = {400: "Bad Request", 500: "Internal Server Error"}[problem.status]
    head = RESPONSE_HEAD.format(
        status=problem.status, reason=reason, request_id=request_id, length=len(body)
    )
    return head.encode() + body
