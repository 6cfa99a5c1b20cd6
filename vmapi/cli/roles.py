"""`roles`: print the authorization matrix."""

import click
from flask import current_app

from vmapi.api.openapi.permission_table import authorization_table
from vmapi.cli.command import OperatorCommand


@click.command(cls=OperatorCommand)
def roles() -> None:
    """Print the permissions of each role, and the role that each endpoint requires."""
    click.echo(authorization_table(current_app))
