"""Event streams that continue after an interruption, without input or output."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmapi_client.core.calls.session import (
    CallSession,
    build_query,
    check_header_value,
    with_request_id,
)
from vmapi_client.core.deadline import MAX_DURATION_SECONDS, Deadline, growing_pauses
from vmapi_client.core.exchange import Attempt, Reply, Request, Response
from vmapi_client.core.repeats import (
    LEAST_PAUSE_SECONDS,
    LEAST_TIMEOUT_SECONDS,
    REPEATED_READ_STATUSES,
)
from vmapi_client.core.replies import (
    MALFORMED_DOCUMENT_ERRORS,
    build_error,
    check_reply,
    describe_foreign_response,
    error_without_response,
    find_failure,
    find_problem,
    too_large,
)
from vmapi_client.errors import NotReachable, NotVmapi, ResponseTimeout, VmapiError
from vmapi_client.models import Event

SILENCE_SECONDS = 60.0
"""Seconds without a byte after which a stream counts as lost: a heartbeat comes every 15 s."""

MAX_WAIT_SECONDS = 86_400
"""The longest stream that vmapi accepts; the next one follows."""

SEARCH_WAIT_SECONDS = 1
"""Seconds after which vmapi ends the stream of a search."""


@dataclass(frozen=True)
class EventFilter:
    """The events that a stream contains; None selects all."""

    kinds: tuple[str, ...] | None = None
    vm_ids: tuple[str, ...] | None = None
    selector: str | None = None


class ServerSentEvents:
    """Splits a stream of bytes into the data of events (WHATWG HTML, section 9.2).

    `feed` raises ResponseTooLarge for an event that exceeds the limit.
    """

    def __init__(self, last_id: str | None, max_event_bytes: int) -> None:
        self.last_id = last_id
        """The id of the newest event that was dispatched."""
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._data: list[str] = []
        self._data_bytes = 0
        self._id = last_id

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the data of each event that is complete with these bytes."""
        self._buffer += chunk
        if b"\n" in chunk:
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                yield from self._read_line(line)
        self._check_size()

    def restart(self) -> None:
        """Drop the incomplete event of an interrupted stream."""
        self._buffer, self._data, self._data_bytes = bytearray(), [], 0
        self._id = self.last_id

    def _check_size(self) -> None:
        if len(self._buffer) + self._data_bytes > self._max_event_bytes:
            raise too_large("GET /events", f"an event has more than {self._max_event_bytes} bytes")

    def _read_line(self, content: bytes | bytearray) -> Iterator[str]:
        line = content.rstrip(b"\r").decode("utf-8", "replace")
        if not line:
            data, self._data, self._data_bytes = self._data, [], 0
            if data:
                yield "\n".join(data)
            self.last_id = self._id
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_bytes += len(content)
            self._check_size()
        elif name == "id" and "\0" not in value:
            self._id = value or None


class EventStream:
    """Decides when and how to connect, and turns bytes into events.

    `since` is the id of the last event that the caller has handled. `seconds` ends the stream.
    """

    def __init__(
        self, session: CallSession, chosen: EventFilter, since: str | None, seconds: float | None
    ) -> None:
        if since is not None:
            check_header_value("since", since)
        self._session = session
        self._query = build_query(kind=chosen.kinds, vm_id=chosen.vm_ids, selector=chosen.selector)
        self._seconds = seconds
        self._parser = ServerSentEvents(since, session.max_response_bytes)
        self._delay = 0.0
        self._reason = ""
        self._error_class: type[NotReachable] = NotReachable
        self._refusal: VmapiError | None = None
        self._has_started = False
        self._has_begun = False
        self._has_bytes = False
        self._start()

    @property
    def opening_seconds(self) -> float:
        """The seconds in which a response has to begin."""
        limits = (SILENCE_SECONDS, self._deadline.remaining, self.reading_seconds)
        return max(min(limits), LEAST_TIMEOUT_SECONDS)

    @property
    def reading_seconds(self) -> float:
        """The seconds in which the next bytes have to come."""
        deadlines = (self._end, self._session.timeout)
        limits = [item.remaining for item in deadlines if isinstance(item, Deadline)]
        return min((SILENCE_SECONDS, *limits))

    @property
    def is_over(self) -> bool:
        """Whether the time of the stream has passed, to the second that `wait` counts in."""
        return self._wait_seconds(0.0) == 0

    @property
    def position(self) -> str | None:
        """The id of the newest event that the stream has passed."""
        return self._parser.last_id

    def next_attempt(self) -> Attempt | None:
        """Return the next attempt to connect, or None if the stream has ended.

        Raises NotReachable if the time passes without a connection.
        """
        if not self._has_started:
            # the caller may have made the stream long before its first event
            self._has_started = True
            self._start()
        wait = self._wait_seconds(self._delay)
        if wait == 0:
            if self._reason and not self._has_begun:
                raise self._build_error()
            return None
        self._parser.restart()
        request = with_request_id(self._request(wait))
        return Attempt(request, SILENCE_SECONDS, self._delay, self._reason)

    def begin(self, attempt: Attempt, reply: Reply) -> bool:
        """Return whether a reply begins a stream. Raises the error of a refusal."""
        check_reply(attempt.request, reply, self._session.server)
        self._reason = find_failure(attempt.request, reply) or ""
        self._error_class, self._refusal = error_without_response(reply), None
        if not self._reason and isinstance(reply, Response):
            problem = find_problem(reply)
            if problem is None:
                self._check_stream(attempt.request, reply)
                self._has_begun = True
                return True
            self._refusal = build_error(attempt.request, reply, self._session.server)
            if reply.status not in REPEATED_READ_STATUSES:
                raise self._refusal
            self._reason = problem.detail
        retry_after = reply.retry_after if isinstance(reply, Response) else None
        self._pause(retry_after)
        return False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that are complete with these bytes."""
        self._begin_deadline()
        self._has_bytes = True
        for data in self._parser.feed(chunk):
            yield parse_event(data)

    def interrupt(self, reason: str) -> None:
        """Prepare the next connection after the end of a stream."""
        self._reason = reason
        if self.is_over:
            return
        if self._has_bytes:
            # the caller may have taken long for the last event
            self._begin_deadline()
            self._has_bytes = False
        self._pause(None)

    def _start(self) -> None:
        """Begin the times of the stream. Raises ValueError for seconds out of range."""
        self._end: Deadline | None = None
        if self._seconds is not None:
            if not 0 < self._seconds <= MAX_DURATION_SECONDS:
                limits = f"above 0 and up to {MAX_DURATION_SECONDS}"
                raise ValueError(f"seconds is {self._seconds:g}: it is {limits}")
            self._end = self._session.deadline(self._seconds, longest=MAX_DURATION_SECONDS)
        self._begin_deadline()

    def _begin_deadline(self) -> None:
        """Begin the time in which a stream has to send bytes."""
        self._deadline = self._session.deadline(None)
        self._pauses = growing_pauses()

    def _wait_seconds(self, delay: float) -> int | None:
        """Return the whole seconds of the stream after a delay; None without an end."""
        return None if self._end is None else max(0, int(self._end.remaining - delay + 0.5))

    def _request(self, wait: int | None) -> Request:
        longest = None if wait is None else min(wait, MAX_WAIT_SECONDS)
        query = self._query + build_query(wait=longest)
        request = Request("GET", "/events", query, {"Accept": "text/event-stream"})
        if self._parser.last_id is None:
            return request
        return replace(request, headers={**request.headers, "Last-Event-ID": self._parser.last_id})

    def _check_stream(self, request: Request, response: Response) -> None:
        if response.content_type != "text/event-stream":
            text = describe_foreign_response(request, response, self._session.server)
            raise NotVmapi(text, status=response.status)

    def _pause(self, retry_after: float | None) -> None:
        pause = next(self._pauses)
        self._delay = pause if retry_after is None else max(retry_after, LEAST_PAUSE_SECONDS)
        if self._delay >= self._deadline.remaining:
            raise self._build_error()

    def _build_error(self) -> VmapiError:
        if self._refusal is not None:
            return self._refusal
        deadlines = [self._deadline] if self._end is None else [self._deadline, self._end]
        seconds = min(deadline.seconds for deadline in deadlines)
        server = self._session.server
        return self._error_class(
            f"GET /events: no stream within {seconds:g} s: {self._reason}. "
            f"Check the URL {server.url} from {server.url_origin}, and that vmapi runs."
        )


class PositionSearch(EventStream):
    """The beginning of a stream, until the id of the newest event, within one deadline."""

    def __init__(self, session: CallSession, timeout: float | None) -> None:
        self._timeout = timeout
        super().__init__(session, EventFilter(), None, None)

    @property
    def reading_seconds(self) -> float:
        """The seconds in which the next bytes have to come."""
        return max(min(SILENCE_SECONDS, self._deadline.remaining), LEAST_TIMEOUT_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether the id is found, or the time has passed."""
        return self.position is not None or self._deadline.remaining == 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield no events: bytes without an id do not extend the deadline."""
        for _ in self._parser.feed(chunk):
            pass
        return iter(())

    def interrupt(self, reason: str) -> None:
        """Prepare the next connection. Raises ResponseTimeout if the time has passed."""
        if self.position is None:
            self._reason = f"the stream has no id ({reason})"
            self._error_class = ResponseTimeout
            self._pause(None)

    def _begin_deadline(self) -> None:
        self._deadline = self._session.deadline(self._timeout)
        self._pauses = growing_pauses()

    def _wait_seconds(self, delay: float) -> int | None:
        # a proxy that collects the stream sends it at its end
        return SEARCH_WAIT_SECONDS


def parse_event(data: str) -> Event:
    """Build an event from its data. Raises NotVmapi for malformed data."""
    try:
        return Event.from_json(json.loads(data))
    except MALFORMED_DOCUMENT_ERRORS as error:
        raise NotVmapi(f"The event stream has malformed data: {error}") from error
