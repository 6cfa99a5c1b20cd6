"""`create`."""

from pathlib import Path
from typing import Any

import click

from vmapi_client.cli.app import (
    CHANGE_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    App,
    command,
    key_option,
)
from vmapi_client.cli.braces import expand_names
from vmapi_client.cli.catalog_choices import add_choices
from vmapi_client.cli.changes import ChangeKeys, finish, run_each
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.parameters import Text
from vmapi_client.cli.progress import Progress
from vmapi_client.models import VM

MAX_FILE_CHARACTERS = 1 << 20
"""More than vmapi accepts as user data or as a key."""


def parse_pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
    """Parse `KEY=VALUE` options into a dictionary."""
    keys = [value.partition("=")[0] for value in values]
    pairs = dict(value.partition("=")[::2] for value in values)
    bad = [value for value in values if not value.partition("=")[0] or "=" not in value]
    if bad:
        raise click.BadParameter(f"{bad[0]!r} needs the form KEY=VALUE.", ctx, param)
    if repeated := next((key for key in keys if keys.count(key) > 1), None):
        raise click.BadParameter(f"the key {repeated!r} is given twice.", ctx, param)
    return pairs or None


def read_text(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the text of a file named by `@FILE`, or the text itself."""
    if value is None or not value.startswith("@"):
        return value
    try:
        with Path(value[1:]).expanduser().open(encoding="utf-8") as file:
            text = file.read(MAX_FILE_CHARACTERS + 1)
        if len(text) > MAX_FILE_CHARACTERS:
            raise ValueError(f"it has more than {MAX_FILE_CHARACTERS} characters")
        return text
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.BadParameter(f"{value!r} is no readable file: {reason}.", ctx, param) from error


def read_keys(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Return public keys, or those in files."""
    return [read_text(ctx, param, value) or "" for value in values]


@command(
    "create",
    examples="""
    vmctl create web-1 --flavor m1.small --image debian-12 --start --wait
    vmctl create web-{1..10} --flavor m1.small --image debian-12 --metadata env=prod
    vmctl create web-1 --flavor m1.small --image debian-12 --ssh-key @~/.ssh/id_ed25519.pub
    vmctl create web-1 --flavor m1.small --image debian-12 --idempotency-key job-42
    """,
)
@click.argument("names", nargs=-1, required=True, type=Text("the name of a new VM"))
@click.option("--flavor", required=True, help="Name or id of a flavor: see 'vmctl flavor list'.")
@click.option("--image", required=True, help="Name or id of an image: see 'vmctl image list'.")
@click.option("--network", help="Name or id of a network.")
@click.option("--start", is_flag=True, help="Leave the VMs running; else they end STOPPED.")
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", callback=parse_pairs, help="Pair to set."
)
@click.option("--user-data", metavar="TEXT|@FILE", callback=read_text, help="Text for cloud-init.")
@click.option(
    "--ssh-key",
    "ssh_keys",
    multiple=True,
    metavar="KEY|@FILE",
    callback=read_keys,
    help="Public key.",
)
@click.option("--key-name", help="Key pair of the cloud.")
@click.option("--security-group", "security_groups", multiple=True, help="Name or id.")
@click.option("--wait", is_flag=True, help="Wait until the VMs are settled.")
@key_option
@click.option("--dry-run", is_flag=True, help="Print the names only.")
@output_option(VM_VIEW)
@click.pass_obj
def create_vms(
    app: App,
    /,
    *,
    names: tuple[str, ...],
    key: str | None,
    dry_run: bool,
    wait: bool,
    output: OutputFormat,
    **members: Any,
) -> int:
    """Create VMs.

    Several VMs are created at the same time; web-{1..10} names ten.
    """
    expanded = expand_names(names)
    if dry_run:
        click.echo("\n".join(expanded))
        return 0
    options: dict[str, Any] = {name: value or None for name, value in members.items()}
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:
        # a wrong URL ends here, and not after the long deadline of a change
        client.health(timeout=READ_TIMEOUT_SECONDS)

        keys = ChangeKeys(key, len(expanded))

        def create(name: str) -> VM:
            name_key = keys.of(name)
            return client.vms.create(name, wait=wait, idempotency_key=name_key, **options)

        progress = Progress("creating", len(expanded), enabled=wait)
        results = run_each(expanded, create, progress)
        return finish(add_choices(client, results), output)
