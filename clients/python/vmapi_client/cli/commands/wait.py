"""`wait`."""

from typing import Any

import click

from vmapi_client.cli.app import CHANGE_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, App, command
from vmapi_client.cli.changes import finish
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.parameters import StatusChoice
from vmapi_client.cli.progress import Progress
from vmapi_client.cli.selection import Selection, VMName, find_selected, selection_options
from vmapi_client.cli.status_wait import StatusWait

TARGETS = ("RUNNING", "STOPPED", "PAUSED", "ERROR", "DELETED")


@command(
    "wait",
    examples="""
    vmctl wait web-1 --for RUNNING
    vmctl wait web-1 web-2 --for DELETED --timeout 5m
    vmctl wait --selector run=1047 --for RUNNING
    """,
)
@click.argument("names", nargs=-1, type=VMName())
@selection_options
@click.option("--all", "select_all", is_flag=True, help="All VMs.")
@click.option(
    "--for",
    "target",
    required=True,
    type=StatusChoice(TARGETS),
    help="The status to wait for, without a task.",
)
@output_option(VM_VIEW)
@click.pass_obj
def wait_for_vms(app: App, /, *, target: Any, output: OutputFormat, **options: Any) -> int:
    """Wait until VMs have a status.

    VMs are named, or selected by options when the wait begins.
    A VM that goes into ERROR, or is deleted, ends the wait with an error.
    """
    selection = Selection(**options)
    selection.check()
    with app.build_client(READ_TIMEOUT_SECONDS) as client:
        vms, codes = find_selected(client, selection)
    deadline = app.require_deadline(CHANGE_TIMEOUT_SECONDS)
    with app.build_client() as client:
        progress = Progress("waiting", len(vms), enabled=True)
        results = StatusWait(client, target, deadline, progress).run(vms)
        return finish(results, output, codes)
