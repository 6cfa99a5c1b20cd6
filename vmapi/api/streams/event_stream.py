"""The body of an event stream: written by the poller thread, or by the thread of the request."""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import structlog
from flask import Flask

from vmapi.api.middleware.authentication import is_still_authenticated
from vmapi.api.request.client_connection import ClientConnection
from vmapi.api.request.detached_body import BodyDetached
from vmapi.api.streams.event_format import STREAM_PREAMBLE, StreamFormat, format_heartbeat
from vmapi.concurrency.nonblocking import WouldBlock
from vmapi.domain.access.identity import Identity
from vmapi.domain.event import Event
from vmapi.errors import StoreUnavailable
from vmapi.services.events.batch import EventBatch
from vmapi.services.events.feed import EventFeed, Subscription

log = structlog.get_logger("vmapi.events")

LIVENESS_INTERVAL = 0.25
"""Seconds between two checks that the client is connected, where a stream holds a thread."""


class EventStream:
    """The body of one event stream (see `DetachedBody`).

    Without a `connection`, the server takes over the body. The stream ends at the monotonic time
    `ends_at`, and after `limit` events; None stands for any number.
    """

    def __init__(
        self,
        app: Flask,
        feed: EventFeed,
        subscription: Subscription,
        stream_format: StreamFormat,
        *,
        authenticate: partial[Identity],
        connection: ClientConnection | None,
        ends_at: float,
        limit: int | None,
    ) -> None:
        self._app = app
        self._feed = feed
        self._subscription = subscription
        self._format = stream_format
        self._unrendered: EventBatch | None = None
        self._rendered: bytes | None = None
        self._authenticate = authenticate
        self.credentials: Hashable = (authenticate.func, authenticate.args)
        self._connection = connection
        self._ends_at = ends_at
        # the event of a reset counts
        self._remaining_events = limit if limit is None else limit - subscription.is_reset
        self._last_sent_at = time.monotonic()
        self._is_detached = self._is_ended = False
        # the stream outlives the context variables of its request
        self._log = log.bind(**structlog.contextvars.get_contextvars())
        self.release = subscription.close
        self.notify: Callable[[Callable[[], None]], None] = subscription.add_listener

    def __iter__(self) -> Iterator[bytes]:
        """Yield the stream, or its beginning. Raises BodyDetached."""
        sequence = self._subscription.sequence
        is_reset = self._subscription.is_reset
        first = self._format.format_reset() if is_reset else format_heartbeat(sequence)
        yield STREAM_PREAMBLE + first
        connection = self._connection
        if connection is None:
            self._is_detached = True
            raise BodyDetached(self)
        while connection.wait_writable():
            text = self._read_or_wait(connection)
            if text is None:
                return
            if text:
                yield text

    def close(self) -> None:
        """Release the resources, unless the server has taken over the body (PEP 3333)."""
        if not self._is_detached:
            self.release()

    @property
    def due_at(self) -> float:
        """The time of the next heartbeat, or of the end."""
        if self._feed.is_draining():
            return 0.0
        return min(self._ends_at, self._last_sent_at + self._feed.heartbeat_interval)

    def read(self) -> bytes | None:
        """Return new events or a heartbeat, b"" without one, None at the end of the stream.

        Raises WouldBlock if the next events have to be loaded or rendered.
        """
        now = time.monotonic()
        text, self._rendered = self._rendered, None
        is_complete = self._remaining_events == 0 and text is None
        if self._is_ended or is_complete or now >= self._ends_at or self._feed.is_draining():
            return None
        if text is None:
            text = self._read_batch()
        if text:
            self._last_sent_at = now
            return text
        if now >= self.due_at:
            self._last_sent_at = now
            return format_heartbeat(self._subscription.sequence)
        return b""

    def load(self) -> None:
        """Load or render the next events; end the stream if the database is unreachable."""
        batch, self._unrendered = self._unrendered, None
        if batch is not None:
            self._rendered = self._format_batch(batch)
            return
        try:
            self._subscription.load()
        except StoreUnavailable as error:
            # the client reconnects and continues after its last event
            self._log.warning("event stream ended, store unavailable", reason=error.detail)
            self.end()

    def is_permitted(self) -> bool:
        """Return whether the token of the request is still valid."""
        return is_still_authenticated(self._authenticate)

    def end(self) -> None:
        """End the stream at the next read."""
        self._is_ended = True

    def _read_or_wait(self, connection: ClientConnection) -> bytes | None:
        if not connection.is_connected() or not self.is_permitted():
            return None
        try:
            text = self.read()
        except WouldBlock:
            self.load()
            return b""
        if text == b"":
            self._subscription.wait(LIVENESS_INTERVAL)
        return text

    def _read_batch(self) -> bytes:
        batch = self._subscription.read()
        if not batch.events:
            return b""
        if self._format.is_slow and batch.find_text(self._format) is None:
            self._unrendered = batch
            raise WouldBlock
        return self._format_batch(batch)

    def _format_batch(self, batch: EventBatch) -> bytes:
        if self._remaining_events is None:
            return batch.render(self._format, self._format_events)
        events = batch.events[: self._remaining_events]
        self._remaining_events -= len(events)
        return self._format_events(events)

    def _format_events(self, events: Sequence[Event]) -> bytes:
        # the request's own context has ended; a problem document needs operation URLs
        with self._app.app_context():
            return b"".join(map(self._format.format_event, events))
