"""`list`, `show` and `console`."""

import sys
from datetime import timedelta

import click

from vmapi_client.cli.app import App, command
from vmapi_client.cli.exit_codes import combine_exit_codes
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_record, print_records, write_text
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.parameters import Count
from vmapi_client.cli.selection import (
    Selection,
    VMName,
    find_vm,
    find_vms,
    selection_options,
)


@command(
    "list",
    examples="""
    vmctl list
    vmctl list --status RUNNING --name 'web-*' -o wide
    vmctl list --older-than 1d -o name
    vmctl list --selector 'env=prod,tier!=db'
    vmctl list -o columns=name,status,metadata.env
    vmctl list -o '{{.name}} {{.ip_address}}'
    """,
)
@click.argument("names", nargs=-1, type=VMName())
@selection_options
@click.option("--deleted", is_flag=True, help="VMs deleted in the last 24 hours.")
@output_option(VM_VIEW)
@click.pass_obj
def list_vms(
    app: App,
    /,
    *,
    names: tuple[str, ...],
    statuses: tuple[str, ...],
    pattern: str | None,
    older_than: timedelta | None,
    selector: str | None,
    deleted: bool,
    output: OutputFormat,
) -> int:
    """List VMs.

    Without an option, all VMs are listed, the oldest first.
    """
    if deleted and statuses:
        raise click.UsageError("Use --deleted or --status, not both.")
    chosen = ("DELETED",) if deleted else statuses
    selection = Selection(names, chosen, pattern, older_than, selector=selector)
    selection.check_alternatives()
    codes: list[int] = []
    with app.build_client() as client:
        if names:
            vms, codes = find_vms(client, names)
        else:
            vms = list(selection.find(client))
        print_records(vms, VM_VIEW, output)
    return combine_exit_codes([*codes, *([0] if vms or not names else [])])


@command(
    "show",
    examples="""
    vmctl show web-1
    vmctl show web-1 web-2 -o yaml
    vmctl show c15d5f2c-be9d-4206-be9a-05fa001cd071 -o '{{.ip_address}}'
    """,
)
@click.argument("names", nargs=-1, required=True, type=VMName())
@click.option("--fresh", is_flag=True, help="Ask the cloud first.")
@output_option(VM_VIEW)
@click.pass_obj
def show_vms(app: App, /, *, names: tuple[str, ...], fresh: bool, output: OutputFormat) -> int:
    """Show all members of VMs.

    One VM is one document, several VMs are a list.
    """
    with app.build_client() as client:
        vms, codes = find_vms(client, names)
        if fresh:
            vms = [client.vms.get(vm, fresh=True) for vm in vms]
    if len(names) == 1 and vms:
        print_record(vms[0], VM_VIEW, output)
    elif vms:
        print_records(vms, VM_VIEW, output)
    return combine_exit_codes([*codes, *(0 for _ in vms)])


@command(
    "console",
    examples="""
    vmctl console web-1
    vmctl console web-1 --lines 20
    """,
)
@click.argument("name", type=VMName())
@click.option("--lines", "-n", type=Count(1, 10_000), help="Last lines only.")
@click.pass_obj
def show_console(app: App, /, *, name: str, lines: int | None) -> None:
    """Print the console output of a VM."""
    with app.build_client() as client:
        output = client.vms.console(find_vm(client, name), lines=lines)
    if sys.stdout.isatty():
        # a guest may write escape sequences that change the terminal
        output = "".join(
            c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in output
        )
    write_text(output.rstrip("\n"))
