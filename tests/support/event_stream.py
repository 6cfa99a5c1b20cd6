"""A stream of events, as a client reads it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from tests.support.api_harness import BASE, ApiHarness
from tests.support.http_client import WAIT_SECONDS

EVENTS_PATH = f"{BASE}/events"
LIFECYCLE_EVENTS = [
    *("vm.created", "operation.succeeded"),
    *("vm.changed", "vm.changed", "operation.succeeded"),
    *("vm.changed", "vm.deleted", "operation.succeeded"),
]
"""Kinds of events of a VM that is created, paused and deleted on the instant cloud."""


class EventStream:
    """Reads the blocks of a stream; a heartbeat instead of an event fails the test."""

    def __init__(
        self, blocks: Iterator[bytes], headers: Mapping[str, str], close: Callable[[], None]
    ) -> None:
        self.headers = headers
        self.close = close
        self._blocks = blocks
        assert self.read_block() == b"retry: 3000\n\n"

    def read_block(self) -> bytes:
        return next(self._blocks)

    def read_heartbeat(self) -> str:
        """Read a heartbeat and return its event id."""
        comment, number, *rest = self.read_block().decode().split("\n")
        assert (comment, rest) == (": heartbeat", ["", ""])
        assert number.startswith("id: ")
        return number[4:]

    def read_event(self) -> Any:
        """Read an event and return its data; check the other fields against it."""
        lines = self.read_block().decode().split("\n")
        fields = dict(line.split(": ", 1) for line in lines[:-2])
        data = json.loads(fields.pop("data"))
        expected = {"event": data["kind"]} | ({"id": data["id"]} if data["id"] else {})
        assert fields == expected
        return data

    def read_result(self) -> Any:
        """Read an event of a GraphQL subscription and return its data."""
        lines = self.read_block().decode().split("\n")
        fields = dict(line.split(": ", 1) for line in lines[:-2])
        data = json.loads(fields.pop("data"))
        event_id = (data.get("data") or {}).get("events", {}).get("id")
        assert fields == {"event": "next"} | ({"id": event_id} if event_id else {})
        return data

    def read_events(self, count: int) -> list[Any]:
        return [self.read_event() for _ in range(count)]

    def read_kinds(self, count: int) -> list[str]:
        return [event["kind"] for event in self.read_events(count)]

    def remaining_blocks(self) -> Iterator[bytes]:
        return self._blocks


def open_in_thread(
    harness: ApiHarness, query: str, headers: dict[str, str], path: str = EVENTS_PATH
) -> EventStream:
    """Open a stream that occupies the thread of its request."""
    response = harness.client.get(f"{path}{query}", headers=headers, buffered=False)
    assert response.status_code == 200, response.text
    return EventStream(_split_blocks(response.response), response.headers, response.close)


def open_at_worker(
    address: tuple[str, int], query: str, headers: dict[str, str], path: str = EVENTS_PATH
) -> EventStream:
    """Open a stream that the poller thread of a worker writes."""
    connection = HTTPConnection(*address, timeout=WAIT_SECONDS)
    connection.request("GET", f"{path}{query}", headers=headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()

    def close() -> None:
        response.close()
        connection.close()

    return EventStream(_read_blocks(response), response.headers, close)


def build_headers(last: str | None, token: str | None) -> dict[str, str]:
    """Return the headers of a request for a stream."""
    accept = "text/event-stream"
    headers = {
        "Accept": accept,
        "Last-Event-ID": last,
        "Authorization": token and f"Bearer {token}",
    }
    return {name: value for name, value in headers.items() if value is not None}


def _split_blocks(chunks: Iterable[bytes | str]) -> Iterator[bytes]:
    for chunk in chunks:
        assert isinstance(chunk, bytes)
        *blocks, rest = chunk.split(b"\n\n")
        assert rest == b""
        for block in blocks:
            yield block + b"\n\n"


def _read_blocks(response: HTTPResponse) -> Iterator[bytes]:
    block = b""
    while line := response.readline():
        block += line
        if line == b"\n":
            yield block
            block = b""
    assert block == b""


OpenStream = Callable[..., EventStream]


def run_lifecycle(harness: ApiHarness, name: str = "web-1") -> str:
    """Create, pause and delete a VM; return its id."""
    vm_id = harness.create_running(name)
    assert harness.post_action(vm_id, "pause").status_code == 200
    assert harness.call("DELETE", f"/vms/{vm_id}").status_code == 204
    return vm_id


def newest_sequence(harness: ApiHarness) -> str:
    return str(harness.services.store.events.assign_sequences())


def list_sequences(harness: ApiHarness) -> list[str]:
    harness.services.store.events.assign_sequences()
    return [str(event.sequence) for event in harness.services.store.events.read_after(0)]
