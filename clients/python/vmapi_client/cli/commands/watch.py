"""`watch`."""

import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from vmapi_client.cli.app import CHANGE_TIMEOUT_SECONDS, App, command
from vmapi_client.cli.output.table import build_rich_table, is_terminal
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.parameters import StreamDuration
from vmapi_client.cli.selection import Selection, VMName, find_vms, selection_options
from vmapi_client.cli.streams import read_events
from vmapi_client.models.event import EVENTS_RESET, EventKind

if TYPE_CHECKING:
    from vmapi_client.models import VM, Event
    from vmapi_client.sync.client import Client

VM_KINDS: tuple[EventKind, ...] = ("vm.created", "vm.changed", "vm.deleted")


@command(
    "watch",
    examples="""
    vmctl watch
    vmctl watch web-1 web-2
    vmctl watch --name 'web-*' --for 10m
    vmctl watch --selector env=prod
    """,
)
@click.argument("names", nargs=-1, type=VMName())
@selection_options
@click.option("--for", "duration", type=StreamDuration(), help="End after this time.")
@click.pass_obj
def watch_vms(
    app: App,
    /,
    *,
    names: tuple[str, ...],
    statuses: tuple[str, ...],
    pattern: str | None,
    older_than: timedelta | None,
    selector: str | None,
    duration: timedelta | None,
) -> None:
    """Show VMs as they change, until Ctrl-C.

    On a terminal this is a live table; elsewhere each change is a line.
    """
    selection = Selection(names, statuses, pattern, older_than, selector=selector)
    selection.check_alternatives()
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:
        watched = WatchedVMs(client, selection)
        since = client.newest_event_id()
        events = read_events(app, client, duration, since=since, kinds=VM_KINDS, selector=selector)
        watched.load()
        if is_terminal():
            show_live(watched, events)
        else:
            print_changes(watched, events)


class WatchedVMs:
    """The VMs of a selection, updated by events."""

    def __init__(self, client: "Client", selection: Selection) -> None:
        self._client = client
        self._selection = selection
        self._vms: dict[str, VM] = {}

    def load(self) -> None:
        """Read the VMs."""
        if self._selection.names:
            vms, _ = find_vms(self._client, self._selection.names)
        else:
            vms = list(self._selection.find(self._client))
        self._vms = {vm.id: vm for vm in vms}

    def apply(self, event: "Event") -> "list[VM]":
        """Apply an event, and return the VMs that changed visibly: several after lost events."""
        if event.kind == EVENTS_RESET:
            before = self._vms
            self.load()
            return [vm for vm in self._vms.values() if before.get(vm.id) != vm]
        vm = event.vm
        if vm is None or not self._is_selected(vm, event) or self._vms.get(vm.id) == vm:
            return []
        self._vms[vm.id] = vm
        return [vm]

    def documents(self) -> list[dict[str, Any]]:
        """Return the VMs, the oldest first."""
        vms = sorted(self._vms.values(), key=lambda vm: (vm.created_at, vm.id))
        return [vm.to_json() for vm in vms]

    def _is_selected(self, vm: "VM", event: "Event") -> bool:
        return vm.id in self._vms or self._selection.matches(vm, event.at)


def show_live(watched: WatchedVMs, events: Iterable["Event"]) -> None:
    """Show a table that follows the events."""
    from rich.console import Console
    from rich.live import Live

    columns, console = VM_VIEW.visible_columns(wide=False), Console()

    def render() -> Any:
        rows = [[column.text(item) for column in columns] for item in watched.documents()]
        return build_rich_table(columns, rows, console.width)

    with Live(render(), console=console, auto_refresh=False) as live:
        for event in events:
            watched.apply(event)
            live.update(render(), refresh=True)


def print_changes(watched: WatchedVMs, events: Iterable["Event"]) -> None:
    """Print a line for each VM, and for each change."""
    columns = VM_VIEW.visible_columns(wide=False)
    for document in watched.documents():
        print("  ".join(column.text(document) for column in columns))
    sys.stdout.flush()
    for event in events:
        for vm in watched.apply(event):
            document = vm.to_json()
            print("  ".join(column.text(document) for column in columns), flush=True)
