"""`update`."""

from typing import TYPE_CHECKING, Any

import click

from vmapi_client.cli.app import (
    CHANGE_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    App,
    command,
    key_option,
)
from vmapi_client.cli.changes import ChangeKeys, finish, label_vms, run_each
from vmapi_client.cli.commands.create import parse_pairs
from vmapi_client.cli.exit_codes import combine_exit_codes
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.progress import Progress
from vmapi_client.cli.selection import VMName, find_vms

if TYPE_CHECKING:
    from vmapi_client.models import VM


@command(
    "update",
    examples="""
    vmctl update web-1 --rename web-2
    vmctl update web-1 web-2 --metadata env=prod --metadata owner=ops
    vmctl update web-1 --remove-metadata env
    """,
)
@click.argument("names", nargs=-1, required=True, type=VMName())
@click.option("--rename", "new_name", metavar="NAME", help="New name of one VM.")
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
def update_vms(
    app: App,
    /,
    *,
    names: tuple[str, ...],
    new_name: str | None,
    metadata: dict[str, Any] | None,
    removed: tuple[str, ...],
    wait: bool,
    key: str | None,
    output: OutputFormat,
) -> int:
    """Change the name or the metadata of VMs.

    Metadata keys that the command does not name stay.
    """
    pairs = merge_pairs(new_name, metadata, removed)
    if new_name is not None and len(names) > 1:
        raise click.UsageError("Rename one VM at a time.")
    with app.build_client(READ_TIMEOUT_SECONDS) as client:
        vms, codes = find_vms(client, names)
    if not vms:
        return combine_exit_codes(codes)
    by_label, keys = label_vms(vms), ChangeKeys(key, len(names))
    changes: dict[str, Any] = {"name": new_name, "metadata": pairs or None, "wait": wait}
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:

        def send(label: str) -> "VM":
            key = keys.of(label)
            return client.vms.update(by_label[label], idempotency_key=key, **changes)

        results = run_each(list(by_label), send, Progress("updating", len(vms), enabled=wait))
        return finish(results, output, codes)


def merge_pairs(
    new_name: str | None, metadata: dict[str, Any] | None, removed: tuple[str, ...]
) -> dict[str, str | None]:
    """Return the metadata of the request. Raises UsageError without a change."""
    pairs = {**(metadata or {}), **dict.fromkeys(removed)}
    if new_name is None and not pairs:
        raise click.UsageError("Use --rename, --metadata or --remove-metadata.")
    if both := set(removed).intersection(metadata or ()):
        raise click.UsageError(f"Set or remove the metadata key {min(both)!r}, not both.")
    return pairs
