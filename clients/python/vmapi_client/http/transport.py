"""The transport of the client with threads."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from vmapi_client.configuration import Configuration
from vmapi_client.core.event_stream import EventStream, PositionSearch
from vmapi_client.core.exchange import Attempt, Plan, Reply, T
from vmapi_client.http.bodies import LimitedBody
from vmapi_client.http.failures import (
    REPORTED_ERRORS,
    build_request,
    build_response,
    build_verification,
    describe_failure,
    log_delay,
    using_environment,
)
from vmapi_client.http.proxies import find_proxy
from vmapi_client.http.read_limits import limit_reads, reads_until
from vmapi_client.models import Event


class Transport:
    """Runs plans over one pool of connections. Threads may share it."""

    def __init__(
        self, configuration: Configuration, max_response_bytes: int, **options: Any
    ) -> None:
        self._configuration = configuration
        self._max_response_bytes = max_response_bytes
        with using_environment():
            options.setdefault("verify", build_verification(configuration))
            self._http = httpx.Client(**options)
        self.proxy: str | None = find_proxy(self._http, configuration.root)
        limit_reads(self._http)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def run(self, plan: Plan[T]) -> T:
        """Run a plan and return its result."""
        try:
            attempt = next(plan)
            while True:
                attempt = plan.send(self._send(attempt))
        except StopIteration as end:
            result: T = end.value
            return result

    def run_stream(self, stream: EventStream) -> Generator[Event, None, None]:
        """Yield the events of a stream, and connect again after each interruption."""
        for events in self._run_chunks(stream):
            yield from events

    def read_position(self, stream: PositionSearch) -> str:
        """Return the id of the newest event: a stream begins with it."""
        for _ in self._run_chunks(stream):
            if stream.position is not None:
                break
        return stream.position or ""

    def _run_chunks(self, stream: EventStream) -> Generator[list[Event], None, None]:
        while (attempt := stream.next_attempt()) is not None:
            with self._open(attempt, stream) as opened:
                reply, chunks = opened
                if not stream.begin(attempt, reply):
                    continue
                reason = "the stream ended"
                try:
                    while not stream.is_over and (chunk := read_chunk(chunks, stream)):
                        yield list(stream.feed(chunk))
                except httpx.HTTPError as error:
                    reason = describe_failure(error, self.proxy).reason
            stream.interrupt(reason)

    def _send(self, attempt: Attempt) -> Reply:
        log_delay(attempt)
        time.sleep(attempt.delay)
        end = time.monotonic() + attempt.timeout
        try:
            with reads_until(end):
                return self._receive(attempt, end)
        except REPORTED_ERRORS as error:
            return describe_failure(error, self.proxy)

    def _receive(self, attempt: Attempt, end: float) -> Reply:
        response = self._http.send(self._build(attempt), stream=True)
        try:
            return self._read(response, end)
        finally:
            response.close()

    def _read(self, response: httpx.Response, end: float) -> Reply:
        body = LimitedBody(self._max_response_bytes)
        for chunk in response.iter_bytes():
            body.add(chunk)
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the body has not ended")
        return build_response(response, body.content())

    @contextmanager
    def _open(
        self, attempt: Attempt, stream: EventStream
    ) -> Iterator[tuple[Reply, Iterator[bytes]]]:
        log_delay(attempt)
        time.sleep(attempt.delay)
        try:
            end = time.monotonic() + stream.opening_seconds
            with reads_until(end):
                response = self._http.send(self._build(attempt), stream=True)
                head = self._read_head(response, end)
        except REPORTED_ERRORS as error:
            yield describe_failure(error, self.proxy), iter(())
            return
        try:
            yield head, response.iter_bytes()
        finally:
            response.close()

    def _read_head(self, response: httpx.Response, end: float) -> Reply:
        """Return the response without its body if it is a stream."""
        if response.status_code == 200:
            return build_response(response, b"")
        try:
            return self._read(response, end)
        except httpx.HTTPError as error:
            return describe_failure(error, self.proxy)

    def _build(self, attempt: Attempt) -> httpx.Request:
        return build_request(self._http, self._configuration, attempt)


def read_chunk(chunks: Iterator[bytes], stream: EventStream) -> bytes | None:
    """Read bytes until the end of a stream. Raises httpx.ReadTimeout at its end."""
    with reads_until(time.monotonic() + stream.reading_seconds):
        return next(chunks, None)
