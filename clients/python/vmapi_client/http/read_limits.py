"""The limit of an attempt in time for a client with threads.

httpx limits each read of a socket. A server that sends a byte now and then passes that limit, and
so does a resolver that does not answer. Here each of them also ends at the end of the attempt.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from vmapi_client.http.resolver import resolve_host

LEAST_READ_SECONDS = 0.001
"""A timeout of zero would make a socket non-blocking."""

_limit = threading.local()


@contextmanager
def reads_until(end: float) -> Iterator[None]:
    """End the reads of this thread at a time of the monotonic clock."""
    _limit.end = end
    try:
        yield
    finally:
        _limit.end = None


def limit_reads(client: httpx.Client) -> None:
    """Make the transports of a client keep to `reads_until`, also those of proxies.

    httpx has no option for the network backend of its pools.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool):
            pool._network_backend = _LimitedBackend(pool._network_backend)


def _limit_timeout(timeout: float | None) -> float | None:
    end: float | None = getattr(_limit, "end", None)
    if end is None:
        return timeout
    remaining = max(end - time.monotonic(), LEAST_READ_SECONDS)
    return remaining if timeout is None else min(timeout, remaining)


class _LimitedBackend(httpcore.NetworkBackend):
    """Opens streams with limited reads."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.NetworkStream:
        """Connect to a port of the first address that accepts it."""
        try:
            addresses = resolve_host(host, port, _limit_timeout(None))
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            limit = _limit_timeout(timeout)
            try:
                stream = self._backend.connect_tcp(address, port, limit, *args, **options)
                return _LimitedStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        """Connect to a Unix socket."""
        return _LimitedStream(self._backend.connect_unix_socket(*args, **options))

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        self._backend.sleep(seconds)


class _LimitedStream(httpcore.NetworkStream):
    """A stream with limited reads."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read within the timeout, and until the end of the attempt."""
        return self._stream.read(max_bytes, _limit_timeout(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write within the timeout, and until the end of the attempt."""
        self._stream.write(buffer, _limit_timeout(timeout))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        """Begin TLS. Raises ReadTimeout where a connected server does not begin it."""
        try:
            return _LimitedStream(self._stream.start_tls(*args, **options))
        except httpcore.ConnectTimeout as error:
            raise httpcore.ReadTimeout(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        """Return information about the stream."""
        return self._stream.get_extra_info(info)
