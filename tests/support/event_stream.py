"""A stream of events, as a client reads it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, ApiHarness

LIFE = [
    *("vm.created", "vm.changed", "operation.succeeded"),
    *("vm.changed", "vm.changed", "vm.changed", "operation.succeeded"),
    *("vm.changed", "vm.deleted", "operation.succeeded"),
]
"""What is told of a VM that is made, paused and deleted, on a cloud that takes no time."""


class Stream:
    """The blocks of an answer; a test that waits in vain fails at the heartbeat."""

    def __init__(self, world: ApiHarness, query: str = "", last: str | None = None) -> None:
        headers = {} if last is None else {"Last-Event-ID": last}
        url = f"{BASE}/events{query}"
        self.answer: TestResponse = world.client.get(url, headers=headers, buffered=False)
        assert self.answer.status_code == 200, self.answer.text
        self._blocks = iter(self.answer.response)
        assert self.block() == b"retry: 3000\n\n"

    def block(self) -> bytes:
        found = next(self._blocks)
        assert isinstance(found, bytes)
        assert found.endswith(b"\n\n")
        return found

    def beat(self) -> str:
        """Return where a heartbeat says to go on."""
        comment, number, *rest = self.block().decode().split("\n")
        assert (comment, rest) == (": heartbeat", ["", ""])
        assert number.startswith("id: ")
        return number[4:]

    def event(self) -> Any:
        """Return the data of an event, whose fields agree with it."""
        lines = self.block().decode().split("\n")
        fields = dict(line.split(": ", 1) for line in lines[:-2])
        data = json.loads(fields.pop("data"))
        expected = {"event": data["kind"]} | ({"id": data["id"]} if data["id"] else {})
        assert fields == expected
        return data

    def events(self, count: int) -> list[Any]:
        return [self.event() for _ in range(count)]

    def kinds(self, count: int) -> list[str]:
        return [event["kind"] for event in self.events(count)]

    def rest(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self.answer.close()


Listen = Callable[..., Stream]


def live(world: ApiHarness, name: str = "web-1") -> str:
    """Let a VM live and die; return its id."""
    vm_id = world.create_running(name)
    assert world.post_action(vm_id, "pause").status_code == 200
    assert world.call("DELETE", f"/vms/{vm_id}").status_code == 204
    return vm_id


def newest(world: ApiHarness) -> str:
    return str(world.services.store.events.assign_sequences())


def everything(world: ApiHarness) -> list[str]:
    world.services.store.events.assign_sequences()
    return [str(event.sequence) for event in world.services.store.events.read_after(0)]
