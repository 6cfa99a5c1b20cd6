"""`audit`."""

from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, get_args

import click

from vmapi_client.cli.app import App, Duration, command
from vmapi_client.cli.output.formats import OutputFormat, output_option
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.views import AUDIT_VIEW
from vmapi_client.models.audit import AuditOutcome


@command(
    "audit",
    examples="""
    vmctl audit --user alice --newer-than 1d
    vmctl audit --outcome refused -o jsonl
    """,
)
@click.option("--user")
@click.option("--project")
@click.option("--action")
@click.option("--vm-id")
@click.option("--request-id")
@click.option("--token-id")
@click.option("--outcome", type=click.Choice(get_args(AuditOutcome)))
@click.option("--newer-than", type=Duration(), help="Entries of the last 2h or 1d.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@output_option
@click.pass_obj
def list_audit(
    app: App, /, *, newer_than: timedelta | None, limit: int, output: OutputFormat, **filters: Any
) -> None:
    """List the audit trail, the newest entry first.

    Only admins may read it.
    """
    after = None if newer_than is None else datetime.now(timezone.utc) - newer_than
    with app.build_client() as client:
        entries = client.audit(after=after, page_size=min(limit, 1000), **filters)
        print_records(islice(entries, limit), AUDIT_VIEW, output)
