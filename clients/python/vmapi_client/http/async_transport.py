"""The transport of the client with coroutines."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
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


class AsyncTransport:
    """Runs plans over one pool of connections. Tasks may share it."""

    def __init__(self, configuration: Configuration, **options: Any) -> None:
        self._configuration = configuration
        options.setdefault("verify", build_verification(configuration))
        self._http = httpx.AsyncClient(**options)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def run(self, plan: Plan[T]) -> T:
        """Run a plan and return its result."""
        try:
            attempt = next(plan)
            while True:
                attempt = plan.send(await self._send(attempt))
        except StopIteration as end:
            result: T = end.value
            return result

    async def run_stream(self, stream: EventStream) -> AsyncIterator[Event]:
        """Yield the events of a stream, and connect again after each interruption."""
        async with aclosing(self._run_chunks(stream)) as chunks:
            async for events in chunks:
                for event in events:
                    yield event

    async def read_position(self, stream: EventStream) -> str:
        """Return the id of the newest event: a stream begins with it."""
        async with aclosing(self._run_chunks(stream)) as chunks:
            async for _ in chunks:
                if stream.position is not None:
                    break
        return stream.position or ""

    async def _run_chunks(self, stream: EventStream) -> AsyncGenerator[list[Event], None]:
        while (attempt := stream.next_attempt()) is not None:
            async with self._open(attempt) as opened:
                reply, chunks = opened
                if not stream.begin(attempt, reply):
                    continue
                reason = "the stream ended"
                try:
                    async for chunk in chunks:
                        yield list(stream.feed(chunk))
                except httpx.HTTPError as error:
                    reason = describe_failure(error).reason
            stream.interrupt(reason)

    async def _send(self, attempt: Attempt) -> Reply:
        log_delay(attempt)
        await anyio.sleep(attempt.delay)
        end = time.monotonic() + attempt.timeout
        try:
            response = await self._http.send(self._build(attempt), stream=True)
            try:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if time.monotonic() > end:
                        return Failure(f"the response is not complete after {attempt.timeout:g} s")
                return build_response(response, bytes(body))
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return describe_failure(error)

    @asynccontextmanager
    async def _open(self, attempt: Attempt) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        log_delay(attempt)
        await anyio.sleep(attempt.delay)
        try:
            response = await self._http.send(self._build(attempt), stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield describe_failure(error), _no_chunks()
            return
        try:
            yield await self._read_head(response), response.aiter_bytes()
        finally:
            await response.aclose()

    async def _read_head(self, response: httpx.Response) -> Reply:
        """Return the response without its body if it is a stream."""
        if response.status_code == 200:
            return build_response(response, b"")
        try:
            return build_response(response, await response.aread())
        except httpx.HTTPError as error:
            return describe_failure(error)

    def _build(self, attempt: Attempt) -> httpx.Request:
        return build_request(self._http, self._configuration, attempt)


async def _no_chunks() -> AsyncIterator[bytes]:
    return
    yield b""
