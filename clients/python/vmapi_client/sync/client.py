"""The client with threads."""

import os
from collections.abc import Generator, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any

from vmapi_client.configuration import Configuration, load_configuration
from vmapi_client.core.calls.records import RecordCalls
from vmapi_client.core.calls.session import (
    DEFAULT_MAX_RESPONSE_BYTES,
    DEFAULT_TIMEOUT_SECONDS,
    CallSession,
    as_tuple,
)
from vmapi_client.core.deadline import Deadline
from vmapi_client.core.event_stream import EventFilter, EventStream, PositionSearch
from vmapi_client.http.transport import Transport
from vmapi_client.models import (
    AuditEntry,
    AuditOutcome,
    Event,
    EventKind,
    Flavor,
    Health,
    Image,
    Network,
    Quota,
    Readiness,
)
from vmapi_client.sync.operations import Operations
from vmapi_client.sync.pages import iterate_pages
from vmapi_client.sync.vms import VMs


class Client:
    """A client of one server. Threads may share it; close it, or use it in a `with` statement.

    URL and token come from the arguments, else from `VMAPI_URL`, `VMAPI_TOKEN` or
    `VMAPI_TOKEN_FILE`, else from a context of vmctl. A token file is read for each request.
    `timeout` is the deadline of each call in seconds, repeats and pauses included. A `Deadline`
    ends all calls together. A response, or an event, has at most `max_response_bytes`.
    `http_options` are arguments of `httpx.Client`. Raises ConfigurationError.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        context: str | None = None,
        timeout: float | Deadline = DEFAULT_TIMEOUT_SECONDS,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        **http_options: Any,
    ) -> None:
        self.configuration: Configuration = load_configuration(
            url, token, token_file=token_file, ca_file=ca_file, context=context
        )
        self._session = CallSession(
            self.configuration.server, timeout, max_response_bytes=max_response_bytes
        )
        self._transport = Transport(self.configuration, max_response_bytes, **http_options)
        self._records = RecordCalls(self._session)
        self.vms: VMs = VMs(self._session, self._transport)
        self.operations: Operations = Operations(self._session, self._transport)

    @property
    def proxy(self) -> str | None:
        """The URL of the proxy, without credentials; None without a proxy."""
        return self._transport.proxy

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def events(
        self,
        *,
        since: str | None = None,
        kinds: EventKind | Iterable[EventKind] | None = None,
        vm_ids: str | Iterable[str] | None = None,
        selector: str | None = None,
        seconds: float | None = None,
    ) -> Generator[Event, None, None]:
        """Yield events as they happen, and continue after each interruption.

        `since` is the id of the last event that was handled; without it, the stream begins now.
        `selector` has conditions on the metadata of the VM; operations have none.
        `seconds` ends the stream. An event `events.reset` says that events are lost.
        Raises NotReachable without a connection for the timeout of the client.
        """
        chosen = EventFilter(as_tuple(kinds), as_tuple(vm_ids), selector)
        return self._transport.run_stream(EventStream(self._session, chosen, since, seconds))

    def newest_event_id(self, *, timeout: float | None = None) -> str:
        """Return the id of the newest event: `events(since=…)` yields all later ones.

        Raises NotReachable if the server sends none in time.
        """
        return self._transport.read_position(PositionSearch(self._session, timeout))

    def flavors(self, *, timeout: float | None = None) -> list[Flavor]:
        """Return all flavors, the smallest first."""
        return self._transport.run(self._records.flavors(timeout))

    def images(self, *, timeout: float | None = None) -> list[Image]:
        """Return all images, sorted by name."""
        return self._transport.run(self._records.images(timeout))

    def networks(self, *, timeout: float | None = None) -> list[Network]:
        """Return all networks, sorted by name."""
        return self._transport.run(self._records.networks(timeout))

    def quota(self, *, timeout: float | None = None) -> Quota:
        """Return usage and limits of the caller's project."""
        return self._transport.run(self._records.quota(timeout))

    def audit(
        self,
        *,
        user: str | None = None,
        project: str | None = None,
        action: str | None = None,
        vm_id: str | None = None,
        request_id: str | None = None,
        token_id: str | None = None,
        outcome: AuditOutcome | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Generator[AuditEntry, None, None]:
        """Return an iterator over the audit trail, the newest entry first."""
        request = self._records.audit_request(
            user=user,
            project=project,
            action=action,
            vm_id=vm_id,
            request_id=request_id,
            token_id=token_id,
            outcome=outcome,
            after=after,
            before=before,
            page_size=page_size,
        )
        return iterate_pages(self._session, self._transport.run, AuditEntry, request, timeout)

    def health(self, *, timeout: float | None = None) -> Health:
        """Return the version of the API and the time of the server; needs no token."""
        return self._transport.run(self._records.health(timeout))

    def readiness(self, *, timeout: float | None = None) -> Readiness:
        """Return the readiness of the server and its dependencies; needs no token."""
        return self._transport.run(self._records.readiness(timeout))
