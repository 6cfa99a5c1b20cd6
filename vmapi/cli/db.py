"""`db`: the schema of the database."""

import click

from vmapi.cli.context import reporting_errors, services


@click.group()
def db() -> None:
    """Maintain the database."""


@db.command()
def upgrade() -> None:
    """Upgrade the schema to the version of this vmapi; safe to repeat."""
    with reporting_errors():
        click.echo(f"the database is at {services().store.upgrade()}")
