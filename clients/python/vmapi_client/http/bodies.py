"""The bodies of responses, read up to a limit of bytes."""

import httpx


class BodyTooLarge(httpx.HTTPError):
    """A body has more bytes than the limit."""


class LimitedBody:
    """Collects the chunks of a body. `add` raises BodyTooLarge beyond the limit."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._content = bytearray()

    def add(self, chunk: bytes) -> None:
        """Add a chunk."""
        if len(self._content) + len(chunk) > self._max_bytes:
            raise BodyTooLarge(f"the response has more than {self._max_bytes} bytes")
        self._content += chunk

    def content(self) -> bytes:
        """Return all bytes."""
        return bytes(self._content)
