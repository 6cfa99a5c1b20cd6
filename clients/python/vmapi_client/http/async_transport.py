"""The transport of the client with coroutines."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
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
    incomplete_response,
    log_delay,
    using_environment,
)
from vmapi_client.http.proxies import find_proxy
from vmapi_client.models import Event


class AsyncTransport:
    """Runs plans over one pool of connections. Tasks may share it."""

    def __init__(
        self, configuration: Configuration, max_response_bytes: int, **options: Any
    ) -> None:
        self._configuration = configuration
        self._max_response_bytes = max_response_bytes
        with using_environment():
            options.setdefault("verify", build_verification(configuration))
            self._http = httpx.AsyncClient(**options)
        self.proxy: str | None = find_proxy(self._http, configuration.root)

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

    async def run_stream(self, stream: EventStream) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream, and connect again after each interruption."""
        async with aclosing(self._run_chunks(stream)) as chunks:
            async for events in chunks:
                for event in events:
                    yield event

    async def read_position(self, stream: PositionSearch) -> str:
        """Return the id of the newest event: a stream begins with it."""
        async with aclosing(self._run_chunks(stream)) as chunks:
            async for _ in chunks:
                if stream.position is not None:
                    break
        return stream.position or ""

    async def _run_chunks(self, stream: EventStream) -> AsyncGenerator[list[Event], None]:
        while (attempt := stream.next_attempt()) is not None:
            async with self._open(attempt, stream) as opened:
                reply, chunks = opened
                if not stream.begin(attempt, reply):
                    continue
                reason = "the stream ended"
                try:
                    while not stream.is_over and (chunk := await read_chunk(chunks, stream)):
                        yield list(stream.feed(chunk))
                except httpx.HTTPError as error:
                    reason = describe_failure(error, self.proxy).reason
            stream.interrupt(reason)

    async def _send(self, attempt: Attempt) -> Reply:
        log_delay(attempt)
        await anyio.sleep(attempt.delay)
        try:
            # httpx limits each read, but not all reads together
            with anyio.move_on_after(attempt.timeout):
                return await self._receive(attempt)
        except REPORTED_ERRORS as error:
            return describe_failure(error, self.proxy)
        return incomplete_response(attempt)

    async def _receive(self, attempt: Attempt) -> Reply:
        response = await self._http.send(self._build(attempt), stream=True)
        try:
            return await self._read(response)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> Reply:
        body = LimitedBody(self._max_response_bytes)
        async for chunk in response.aiter_bytes():
            body.add(chunk)
        return build_response(response, body.content())

    @asynccontextmanager
    async def _open(
        self, attempt: Attempt, stream: EventStream
    ) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        log_delay(attempt)
        await anyio.sleep(attempt.delay)
        response = reply = None
        try:
            with anyio.move_on_after(stream.opening_seconds):
                response = await self._http.send(self._build(attempt), stream=True)
                reply = await self._read_head(response)
        except REPORTED_ERRORS as error:
            yield describe_failure(error, self.proxy), _no_chunks()
            return
        try:
            if response is None or reply is None:
                yield incomplete_response(attempt), _no_chunks()
            else:
                yield reply, response.aiter_bytes()
        finally:
            if response is not None:
                await response.aclose()

    async def _read_head(self, response: httpx.Response) -> Reply:
        """Return the response without its body if it is a stream."""
        if response.status_code == 200:
            return build_response(response, b"")
        try:
            return await self._read(response)
        except httpx.HTTPError as error:
            return describe_failure(error, self.proxy)

    def _build(self, attempt: Attempt) -> httpx.Request:
        return build_request(self._http, self._configuration, attempt)


async def read_chunk(chunks: AsyncIterator[bytes], stream: EventStream) -> bytes | None:
    """Read bytes until the end of a stream; return None after it."""
    with anyio.move_on_after(stream.reading_seconds):
        return await anext(chunks, None)
    return None


async def _no_chunks() -> AsyncIterator[bytes]:
    return
    yield b""
