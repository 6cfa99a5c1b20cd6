"""`update`."""

from typing import Any

import click

from vmapi_client.cli.app import (
    CHANGE_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    App,
    command,
    key_option,
)
from vmapi_client.cli.commands.create import parse_pairs
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.selection import VMName, find_vm


@command(
    "update",
    examples="""
    vmctl update web-1 --rename web-2
    vmctl update web-1 --metadata env=prod --metadata owner=ops
    vmctl update web-1 --remove-metadata env
    """,
)
@click.argument("name", type=VMName())
@click.option("--rename", "new_name", metavar="NAME", help="New name.")
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", callback=parse_pairs, help="Pair to set."
)
@click.option(
    "--remove-metadata", "removed", multiple=True, metavar="KEY", help="Key of a pair to remove."
)
@click.option("--wait", is_flag=True, help="Wait until the change has ended.")
@key_option
@output_option(VM_VIEW)
@click.pass_obj
def update_vm(
    app: App,
    /,
    *,
    name: str,
    new_name: str | None,
    metadata: dict[str, Any] | None,
    removed: tuple[str, ...],
    wait: bool,
    key: str | None,
    output: OutputFormat,
) -> None:
    """Change the name or the metadata of a VM.

    Metadata keys that the command does not name stay.
    """
    pairs = {**(metadata or {}), **dict.fromkeys(removed)}
    if new_name is None and not pairs:
        raise click.UsageError("Use --rename, --metadata or --remove-metadata.")
    if both := set(removed).intersection(metadata or ()):
        raise click.UsageError(f"Set or remove the metadata key {min(both)!r}, not both.")
    with app.build_client(READ_TIMEOUT_SECONDS) as client:
        vm = find_vm(client, name)
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:
        changed = client.vms.update(
            vm, name=new_name, metadata=pairs or None, wait=wait, idempotency_key=key
        )
    print_records([changed], VM_VIEW, output)
