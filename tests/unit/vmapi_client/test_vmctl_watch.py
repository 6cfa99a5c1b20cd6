"""`vmctl watch` without a terminal, with a client of the test."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client import VM
from vmapi_client.cli.commands.watch import WatchedVMs, print_changes
from vmapi_client.cli.selection import Selection
from vmapi_client.models import Event

RESET = Event(id=None, kind="events.reset", vm_id=None, at=None, vm=None, operation=None)


def test_changes_of_lost_events_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    vm = replace(VM.from_json(VM_DOCUMENT), status="RUNNING", task=None)
    listed = [replace(vm, id=f"id-{n}", name=f"web-{n}") for n in range(3)]
    client: Any = SimpleNamespace(vms=SimpleNamespace(list=lambda **_: iter(listed)))
    watched = WatchedVMs(client, Selection())
    watched.load()
    listed = [replace(listed[0], status="STOPPED"), *listed[1:], replace(vm, name="web-3")]
    print_changes(watched, [RESET, RESET])
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        *([f"web-{n}", "RUNNING"] for n in range(3)),
        ["web-0", "STOPPED"],
        ["web-3", "RUNNING"],
    ]
