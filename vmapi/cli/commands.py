"""The list of commands of `flask --app wsgi`."""

from flask import Flask

from vmapi.cli.audit import audit
from vmapi.cli.check import check
from vmapi.cli.db import db
from vmapi.cli.docs import docs
from vmapi.cli.roles import roles
from vmapi.cli.tokens import token
from vmapi.cli.worker import worker

COMMANDS = (check, db, token, roles, audit, worker, docs)


def init_app(app: Flask) -> None:
    """Add the commands to the app."""
    for command in COMMANDS:
        app.cli.add_command(command)
