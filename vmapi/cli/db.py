"""`db`: the schema of the database."""

import click

from vmapi.cli.context import services, using_database


@click.group()
def db() -> None:
    """Maintain the database."""


@db.command()
@using_database(creates=True)
def upgrade() -> None:
    """Upgrade the schema to the version of this vmapi; safe to repeat."""
    click.echo(f"the database is at {services().store.upgrade()}")
