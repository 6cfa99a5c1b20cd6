"""Event streams that continue after an interruption, without input or output."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmapi_client.core.calls.session import CallSession, build_query, with_request_id
from vmapi_client.core.deadline import Deadline, growing_pauses
from vmapi_client.core.exchange import Attempt, Reply, Request, Response
from vmapi_client.core.repeats import LEAST_PAUSE_SECONDS, REPEATED_READ_STATUSES
from vmapi_client.core.replies import (
    build_error,
    check_reply,
    find_failure,
    find_problem,
)
from vmapi_client.errors import NotReachable, NotVmapi
from vmapi_client.models import Event

SILENCE_SECONDS = 60.0
"""Seconds without a byte after which a stream counts as lost: a heartbeat comes every 15 s."""


@dataclass(frozen=True)
class EventFilter:
    """The events that a stream contains; empty tuples select all."""

    kinds: tuple[str, ...] = ()
    vm_ids: tuple[str, ...] = ()


class ServerSentEvents:
    """Splits a stream of bytes into the data of events (WHATWG HTML, section 9.2)."""

    def __init__(self, last_id: str | None) -> None:
        self.last_id = last_id
        """The id of the newest event that was dispatched."""
        self._buffer = b""
        self._data: list[str] = []
        self._id: str | None = last_id

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the data of each event that is complete with these bytes."""
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            yield from self._read_line(line.rstrip(b"\r").decode("utf-8", "replace"))

    def restart(self) -> None:
        """Drop the incomplete event of an interrupted stream."""
        self._buffer, self._data, self._id = b"", [], self.last_id

    def _read_line(self, line: str) -> Iterator[str]:
        if not line:
            data, self._data = self._data, []
            if data:
                yield "\n".join(data)
            self.last_id = self._id
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value or None


class EventStream:
    """Decides when and how to connect, and turns bytes into events.

    `since` is the id of the last event that the caller has handled. `seconds` ends the stream.
    """

    def __init__(
        self, session: CallSession, chosen: EventFilter, since: str | None, seconds: float | None
    ) -> None:
        self._session = session
        self._filter = chosen
        self._parser = ServerSentEvents(since)
        self._end = None if seconds is None else Deadline(seconds, session.clock)
        self._deadline = session.deadline(None)
        self._pauses = growing_pauses()
        self._delay = 0.0
        self._reason = ""

    @property
    def position(self) -> str | None:
        """The id of the newest event that the stream has passed."""
        return self._parser.last_id

    def next_attempt(self) -> Attempt | None:
        """Return the next attempt to connect, or None if the stream has ended."""
        wait = None
        if self._end is not None:
            wait = int(self._end.remaining - self._delay + 0.5)
            if wait < 1:
                return None
        self._parser.restart()
        request = with_request_id(self._request(wait))
        return Attempt(request, SILENCE_SECONDS, self._delay, self._reason)

    def begin(self, attempt: Attempt, reply: Reply) -> bool:
        """Return whether a reply begins a stream. Raises the error of a refusal."""
        check_reply(attempt.request, reply, self._session.server)
        self._reason = find_failure(attempt.request, reply) or ""
        if not self._reason and isinstance(reply, Response):
            problem = find_problem(reply)
            if problem is None:
                return self._check_stream(reply)
            if reply.status not in REPEATED_READ_STATUSES:
                raise build_error(reply, self._session.server)
            self._reason = problem.detail
        retry_after = reply.retry_after if isinstance(reply, Response) else None
        self._pause(retry_after)
        return False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that are complete with these bytes."""
        self._deadline = self._session.deadline(None)
        self._pauses = growing_pauses()
        for data in self._parser.feed(chunk):
            yield parse_event(data)

    def interrupt(self, reason: str) -> None:
        """Prepare the next connection after the end of a stream."""
        self._reason = reason
        self._pause(None)

    def _request(self, wait: int | None) -> Request:
        query = build_query(kind=self._filter.kinds, vm_id=self._filter.vm_ids, wait=wait)
        request = Request("GET", "/events", query, {"Accept": "text/event-stream"})
        if self._parser.last_id is None:
            return request
        return replace(request, headers={**request.headers, "Last-Event-ID": self._parser.last_id})

    def _check_stream(self, response: Response) -> bool:
        if response.content_type == "text/event-stream":
            return True
        raise NotVmapi(f"/events has the content type {response.content_type}")

    def _pause(self, retry_after: float | None) -> None:
        pause = next(self._pauses)
        self._delay = pause if retry_after is None else max(retry_after, LEAST_PAUSE_SECONDS)
        if self._delay >= self._deadline.remaining:
            raise NotReachable(
                f"GET /events: no stream within {self._deadline.seconds:g} s: {self._reason}. "
                f"Check the URL {self._session.server.url}, and that vmapi runs."
            )


def parse_event(data: str) -> Event:
    """Build an event from its data. Raises NotVmapi for malformed data."""
    try:
        return Event.from_json(json.loads(data))
    except (ValueError, TypeError, AttributeError) as error:
        raise NotVmapi(f"The event stream has malformed data: {error}") from error
