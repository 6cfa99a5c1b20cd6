"""`event watch`."""

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import click

from vmapi_client.cli.app import CHANGE_TIMEOUT_SECONDS, App, command
from vmapi_client.cli.output.formats import OutputFormat, format_value
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import format_line, write_text
from vmapi_client.cli.output.views import EVENT_VIEW, describe_subject
from vmapi_client.cli.parameters import Count, EventId, StreamDuration
from vmapi_client.cli.selection import VMName, find_vm
from vmapi_client.cli.streams import read_events
from vmapi_client.models.event import EventKind

if TYPE_CHECKING:
    from vmapi_client.models import Event


@click.group("event")
def event() -> None:
    """Events: changes as they happen."""


@command(
    "watch",
    examples="""
    vmctl event watch
    vmctl event watch --kind vm.created --kind vm.deleted -o jsonl
    vmctl event watch --since 1772015400123456 --for 1m
    vmctl event watch --vm web-1 --kind operation.succeeded --count 1
    """,
)
@click.option("--vm", "name", type=VMName(), help="Events of one VM.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(get_args(EventKind)))
@click.option("--selector", "-l", metavar="SELECTOR", help="Events of VMs with this metadata.")
@click.option(
    "--since", type=EventId(), metavar="ID", help="Events after this one; default: from now on."
)
@click.option("--for", "duration", type=StreamDuration(), help="End after this time.")
@click.option("--count", type=Count(min=1), help="End after so many events.")
@output_option(EVENT_VIEW)
@click.pass_obj
def watch_events(
    app: App,
    /,
    *,
    name: str | None,
    kinds: Any,
    selector: str | None,
    since: str | None,
    duration: timedelta | None,
    count: int | None,
    output: OutputFormat,
) -> None:
    """Print events as they happen, one line each, until Ctrl-C.

    The stream continues after an interruption; no event is lost.
    """
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:
        vm_id = None if name is None else find_vm(client, name).id
        events = read_events(
            app, client, duration, since=since, kinds=kinds or None, vm_ids=vm_id, selector=selector
        )
        for item in islice(events, count):
            write_text(format_event(item, output))


def format_event(item: "Event", output: OutputFormat) -> str:
    """Return an event as one line."""
    document = item.to_json()
    if output.kind in ("json", "yaml"):
        return format_line(document, EVENT_VIEW, OutputFormat("jsonl"))
    if output.kind not in ("table", "wide"):
        return format_line(document, EVENT_VIEW, output)
    document["subject"] = describe_subject(document)
    columns = EVENT_VIEW.visible_columns(wide=output.kind == "wide")
    return "  ".join(format_value(column.text(document)) for column in columns)


event.add_command(watch_events)
