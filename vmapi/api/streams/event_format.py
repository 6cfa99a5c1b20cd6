"""Events as server-sent events (WHATWG HTML, section 9.2)."""

from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from vmapi.api import responses
from vmapi.domain.bulk import BulkSummary
from vmapi.domain.event import RESET_KIND, Event
from vmapi.domain.operation import Operation
from vmapi.domain.timestamps import format_rfc3339

STREAM_PREAMBLE = b"retry: 3000\n\n"
"""The browser reconnects 3000 ms after the stream ends."""

NO_MEMBERS = dict.fromkeys(("id", "kind", "at", "vm_id", "vm", "operation"))


def format_heartbeat(sequence: int) -> bytes:
    """Format a comment with the sequence number to resume after."""
    return b": heartbeat\nid: %d\n\n" % sequence


class StreamFormat(Protocol):
    """The format of the events of a stream. Streams with equal formats share the bytes."""

    is_slow: bool
    """Whether the format takes too long for the poller thread."""

    def __hash__(self) -> int:
        """Return the hash: a format is the key of the shared bytes."""
        ...

    def format_reset(self) -> bytes:
        """Format the event of a gap: the events after the client's last one are purged."""
        ...

    def format_event(self, event: Event) -> bytes:
        """Format an event; `id` is last, so that the client has the data when it stores the id."""
        ...


@dataclass(frozen=True, slots=True)
class EventJson:
    """The format of `/events`: the name of an event is its kind, and the data its members."""

    is_slow = False

    def format_reset(self) -> bytes:
        """Format the event of a gap."""
        data = orjson.dumps({**NO_MEMBERS, "kind": RESET_KIND})
        return b"event: %s\ndata: %s\n\n" % (RESET_KIND.encode(), data)

    def format_event(self, event: Event) -> bytes:
        """Format an event."""
        data = orjson.dumps(_event_document(event))
        return b"event: %s\ndata: %s\nid: %d\n\n" % (event.kind.encode(), data, event.sequence)


def _event_document(event: Event) -> dict[str, Any]:
    return {
        "id": str(event.sequence),
        "kind": event.kind,
        "at": format_rfc3339(event.at),
        "vm_id": event.vm_id,
        "vm": event.vm and responses.vm_document(event.vm),
        "operation": event.operation and _operation_document(event.operation),
    }


def _operation_document(operation: Operation | BulkSummary) -> dict[str, Any]:
    if isinstance(operation, BulkSummary):
        return responses.bulk_summary_document(operation)
    return responses.operation_document(operation)
