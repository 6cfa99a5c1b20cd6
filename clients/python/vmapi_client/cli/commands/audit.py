"""`audit`."""

from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, get_args

import click

from vmapi_client.cli.app import App, command
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.views import AUDIT_VIEW
from vmapi_client.cli.parameters import Count, Duration
from vmapi_client.cli.selection import VMName, find_vm_id
from vmapi_client.models.audit import AuditOutcome


@command(
    "audit",
    examples="""
    vmctl audit --user alice --newer-than 1d
    vmctl audit --vm web-1 --outcome refused -o jsonl
    """,
)
@click.option("--user", help="Entries of this user.")
@click.option("--project", help="Entries of this project.")
@click.option("--action", help="Entries of this action, such as create.")
@click.option("--vm", "--vm-id", "name", type=VMName(), help="Entries of one VM.")
@click.option("--request-id", help="Entries of this request.")
@click.option("--token-id", help="Entries of the API token with this id.")
@click.option("--outcome", type=click.Choice(get_args(AuditOutcome)), help="Entries with it.")
@click.option("--newer-than", type=Duration(), help="Entries of the last 2h or 1d.")
@click.option("--limit", type=Count(min=1), default=50, show_default=True)
@output_option(AUDIT_VIEW)
@click.pass_obj
def list_audit(
    app: App,
    /,
    *,
    name: str | None,
    newer_than: timedelta | None,
    limit: int,
    output: OutputFormat,
    **filters: Any,
) -> None:
    """List the audit trail, the newest entry first.

    Only admins may read it.
    """
    after = None if newer_than is None else datetime.now(timezone.utc) - newer_than
    with app.build_client() as client:
        vm_id = None if name is None else find_vm_id(client, name)
        entries = client.audit(after=after, vm_id=vm_id, page_size=min(limit, 1000), **filters)
        print_records(islice(entries, limit), AUDIT_VIEW, output)
