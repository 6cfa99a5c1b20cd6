"""A stream of events, as a client reads it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, ApiHarness

LIFECYCLE_EVENTS = [
    *("vm.created", "operation.succeeded"),
    *("vm.changed", "vm.changed", "operation.succeeded"),
    *("vm.changed", "vm.deleted", "operation.succeeded"),
]
"""Kinds of events of a VM that is created, paused and deleted on the instant cloud."""


class EventStream:
    """Reads the blocks of a stream; a heartbeat instead of an event fails the test."""

    def __init__(self, harness: ApiHarness, query: str = "", last: str | None = None) -> None:
        headers = {} if last is None else {"Last-Event-ID": last}
        url = f"{BASE}/events{query}"
        self.response: TestResponse = harness.client.get(url, headers=headers, buffered=False)
        assert self.response.status_code == 200, self.response.text
        self._blocks = iter(self.response.response)
        assert self.read_block() == b"retry: 3000\n\n"

    def read_block(self) -> bytes:
        block = next(self._blocks)
        assert isinstance(block, bytes)
        assert block.endswith(b"\n\n")
        return block

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

    def read_events(self, count: int) -> list[Any]:
        return [self.read_event() for _ in range(count)]

    def read_kinds(self, count: int) -> list[str]:
        return [event["kind"] for event in self.read_events(count)]

    def remaining_blocks(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self.response.close()


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
