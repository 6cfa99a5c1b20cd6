"""The list of commands that run with the app."""

from flask import Flask

from vmapi.cli.audit import audit
from vmapi.cli.check import check
from vmapi.cli.db import db
from vmapi.cli.docs import docs
from vmapi.cli.inventory import inventory
from vmapi.cli.operations import operations
from vmapi.cli.roles import roles
from vmapi.cli.support_bundle import support_bundle
from vmapi.cli.tokens import token
from vmapi.cli.worker import worker

COMMANDS = (check, db, operations, inventory, token, roles, audit, worker, support_bundle, docs)


def init_app(app: Flask) -> None:
    """Add the commands to the app."""
    for command in COMMANDS:
        app.cli.add_command(command)
