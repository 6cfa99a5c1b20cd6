"""`create`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vmapi_client.cli.app import CHANGE_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, App, command
from vmapi_client.cli.changes import finish, key_of, run_each
from vmapi_client.cli.output.formats import OutputFormat, output_option
from vmapi_client.cli.progress import Progress
from vmapi_client.models import VM

BRACES = re.compile(r"\{([^{}]*)\}")
MAX_NAMES = 1000


def expand_braces(text: str) -> Iterator[str]:
    """Yield the texts of a brace expression, as bash does: `web-{1..3}`, `{a,b}`."""
    match = BRACES.search(text)
    if match is None:
        yield text
        return
    for part in _expand_part(match[1]):
        yield from expand_braces(text[: match.start()] + part + text[match.end() :])


def _expand_part(part: str) -> list[str]:
    limits = re.fullmatch(r"(\d+)\.\.(\d+)", part)
    if limits is None:
        return part.split(",")
    first, last = int(limits[1]), int(limits[2])
    if abs(last - first) >= MAX_NAMES:
        raise click.UsageError(f"{{{part}}} has more than {MAX_NAMES} names.")
    width = max(len(limit) for limit in limits.groups() if limit.startswith("0") or len(limit) == 1)
    step = 1 if first <= last else -1
    return [f"{number:0{width}}" for number in range(first, last + step, step)]


def parse_pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
    """Parse `KEY=VALUE` options into a dictionary."""
    pairs = dict(value.partition("=")[::2] for value in values)
    bad = [value for value in values if "=" not in value]
    if bad:
        raise click.BadParameter(f"{bad[0]!r} needs the form KEY=VALUE.", ctx, param)
    return pairs or None


def read_text(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the text of a file named by `@FILE`, or the text itself."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(str(error), ctx, param) from error


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
@click.argument("names", nargs=-1, required=True)
@click.option("--flavor", required=True, help="Name or id of a flavor: see 'vmctl flavor list'.")
@click.option("--image", required=True, help="Name or id of an image: see 'vmctl image list'.")
@click.option("--network", help="Name or id of a network.")
@click.option("--start", is_flag=True, help="Leave the VMs running; else they end STOPPED.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", callback=parse_pairs)
@click.option("--user-data", metavar="TEXT|@FILE", callback=read_text, help="For cloud-init.")
@click.option(
    "--ssh-key",
    "ssh_keys",
    multiple=True,
    metavar="KEY|@FILE",
    callback=read_keys,
    help="Public key.",
)
@click.option("--key-name", help="Key pair of the cloud.")
@click.option("--security-group", "security_groups", multiple=True)
@click.option("--wait", is_flag=True, help="Wait until the VMs are settled.")
@click.option("--idempotency-key", "key", help="Run the command again with the same key.")
@click.option("--dry-run", is_flag=True, help="Print the names only.")
@output_option
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
    expanded = list(dict.fromkeys(name for text in names for name in expand_braces(text)))
    if dry_run:
        click.echo("\n".join(expanded))
        return 0
    options: dict[str, Any] = {name: value or None for name, value in members.items()}
    with app.build_client(CHANGE_TIMEOUT_SECONDS) as client:
        # a wrong URL ends here, and not after the long deadline of a change
        client.health(timeout=app.timeout_or(READ_TIMEOUT_SECONDS))

        def create(name: str) -> VM:
            name_key = key_of(key, name, len(expanded))
            return client.vms.create(name, wait=wait, idempotency_key=name_key, **options)

        progress = Progress("creating", len(expanded), enabled=wait)
        return finish(run_each(expanded, create, progress), output)
