"""The transport of the client with threads."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from vmapi_client.configuration import Configuration
from vmapi_client.core.event_stream import EventStream
from vmapi_client.core.exchange import Attempt, Failure, Plan, Reply, T
from vmapi_client.http.failures import (
    build_request,
    build_response,
    build_verification,
    describe_failure,
    log_delay,
)
from vmapi_client.models import Event


class Transport:
    """Runs plans over one pool of connections. Threads may share it."""

    def __init__(self, configuration: Configuration, **options: Any) -> None:
        self._configuration = configuration
        options.setdefault("verify", build_verification(configuration))
        self._http = httpx.Client(**options)

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

    def run_stream(self, stream: EventStream) -> Iterator[Event]:
        """Yield the events of a stream, and connect again after each interruption."""
        for events in self._run_chunks(stream):
            yield from events

    def read_position(self, stream: EventStream) -> str:
        """Return the id of the newest event: a stream begins with it."""
        for _ in self._run_chunks(stream):
            if stream.position is not None:
                break
        return stream.position or ""

    def _run_chunks(self, stream: EventStream) -> Iterator[list[Event]]:
        while (attempt := stream.next_attempt()) is not None:
            with self._open(attempt) as opened:
                reply, chunks = opened
                if not stream.begin(attempt, reply):
                    continue
                reason = "the stream ended"
                try:
                    for chunk in chunks:
                        yield list(stream.feed(chunk))
                except httpx.HTTPError as error:
                    reason = describe_failure(error).reason
            stream.interrupt(reason)

    def _send(self, attempt: Attempt) -> Reply:
        log_delay(attempt)
        time.sleep(attempt.delay)
        end = time.monotonic() + attempt.timeout
        try:
            response = self._http.send(self._build(attempt), stream=True)
            try:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() > end:
                        return Failure(f"the response is not complete after {attempt.timeout:g} s")
                return build_response(response, bytes(body))
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return describe_failure(error)

    @contextmanager
    def _open(self, attempt: Attempt) -> Iterator[tuple[Reply, Iterator[bytes]]]:
        log_delay(attempt)
        time.sleep(attempt.delay)
        try:
            response = self._http.send(self._build(attempt), stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield describe_failure(error), iter(())
            return
        try:
            yield self._read_head(response), response.iter_bytes()
        finally:
            response.close()

    def _read_head(self, response: httpx.Response) -> Reply:
        """Return the response without its body if it is a stream."""
        if response.status_code == 200:
            return build_response(response, b"")
        try:
            return build_response(response, response.read())
        except httpx.HTTPError as error:
            return describe_failure(error)

    def _build(self, attempt: Attempt) -> httpx.Request:
        return build_request(self._http, self._configuration, attempt)
