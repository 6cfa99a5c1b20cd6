"""The parts of a call: requests, responses, and plans that connect them."""

import email.utils
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """One request. `path` is below the base path, or below the root of the server."""

    method: str
    path: str
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    below_root: bool = False
    failure_statuses: tuple[int, ...] = ()
    """Statuses beyond 2xx with a document instead of a problem."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Response:
    """A complete response. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    idempotency_key: str | None = None
    """The key of the change that the response ends; None for a read."""

    @property
    def content_type(self) -> str:
        """The media type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def document(self) -> Any:
        """The JSON of the body. Raises ValueError without one."""
        return json.loads(self.body)

    @property
    def is_replayed(self) -> bool:
        """Whether an earlier request with the same key made the change."""
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before a repeat (RFC 9110, section 10.2.3), or None."""
        return parse_retry_after(self.headers.get("retry-after", ""))

    @property
    def operation_id(self) -> str | None:
        """The id of the operation that makes the change."""
        return self.headers.get("operation-location", "").rpartition("/")[2] or None


FailureKind = Literal[
    "no response", "timeout", "host", "certificate", "no TLS", "url", "configuration", "too large"
]


@dataclass(frozen=True)
class Failure:
    """An attempt without a complete response.

    Repeats can heal `no response` and, of a server that is connected, `timeout`.
    """

    reason: str
    kind: FailureKind = "no response"
    error: Exception | None = None


@dataclass(frozen=True)
class Attempt:
    """One attempt to send a request: after `delay` seconds, with `timeout` seconds in all."""

    request: Request
    timeout: float
    delay: float = 0.0
    reason: str = ""
    """The reason for the delay, for people; empty for a first attempt."""


Reply = Response | Failure
Plan = Generator[Attempt, Reply, T]
"""A call that ends with a result. It receives a reply for each attempt."""


def parse_retry_after(text: str) -> float | None:
    """Parse a `Retry-After` header: seconds or a date."""
    if text.isascii() and text.strip().isdigit():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
