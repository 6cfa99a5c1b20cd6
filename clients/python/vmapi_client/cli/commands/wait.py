"""`wait`."""

from typing import TYPE_CHECKING, Any

import click

from vmapi_client.cli.app import CHANGE_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, App, command
from vmapi_client.cli.bulk import as_deleted
from vmapi_client.cli.changes import finish, run_each
from vmapi_client.cli.output.formats import OutputFormat, output_option
from vmapi_client.cli.progress import Progress
from vmapi_client.cli.selection import VMName, find_vms

if TYPE_CHECKING:
    from vmapi_client.models import VM

TARGETS = ("RUNNING", "STOPPED", "PAUSED", "ERROR", "DELETED")


@command(
    "wait",
    examples="""
    vmctl wait web-1 --for RUNNING
    vmctl wait web-1 web-2 --for DELETED --timeout 5m
    """,
)
@click.argument("names", nargs=-1, required=True, type=VMName())
@click.option(
    "--for",
    "target",
    required=True,
    type=click.Choice(TARGETS, case_sensitive=False),
    help="The status to wait for, without a task.",
)
@output_option
@click.pass_obj
def wait_for_vms(app: App, /, *, names: tuple[str, ...], target: Any, output: OutputFormat) -> int:
    """Wait until VMs have a status.

    A VM that goes into ERROR, or is deleted, ends the wait with an error.
    """
    with app.build_client(READ_TIMEOUT_SECONDS) as client:
        vms, codes = find_vms(client, names)
    by_name = {vm.name: vm for vm in vms}
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:

        def wait(name: str) -> "VM":
            vm = by_name[name]
            if target == "DELETED":
                client.vms.wait_until_deleted(vm)
                return as_deleted(vm)
            return client.vms.wait_for(vm, target)

        progress = Progress("waiting", len(by_name), enabled=True)
        return finish(run_each(list(by_name), wait, progress), output, codes)
