"""Commands for operators: `flask --app wsgi …`."""

from dataclasses import fields

import click
from flask import Flask, current_app

from vmapi.api.context import services
from vmapi.engine import worker as engine
from vmapi.errors import VmapiError
from vmapi.settings import Settings


def init_app(app: Flask) -> None:
    """Add the commands to the app."""
    for command in (check, worker, db):
        app.cli.add_command(command)


@click.command()
def check() -> None:
    """Tell what is configured and whether the cloud answers; exit 1 when it does not."""
    settings: Settings = current_app.config["SETTINGS"]
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.metadata["secret"] and value is not None:
            value = "(set, hidden)"
        if item.name == "workers" and value is None:
            value = settings.worker_count
        click.echo(f"{item.metadata['name']:<24} {'-' if value in (None, '') else value}")
    backend = services().backend
    for name, value in backend.describe().items():
        click.echo(f"{name:<24} {value}")
    try:
        backend.ping()
    except VmapiError as error:
        raise click.ClickException(f"the cloud does not answer: {error.detail}") from None
    click.echo("the cloud answers")


@click.command()
def worker() -> None:
    """Carry operations on, in a process of its own (VMAPI_ENGINE=worker or celery)."""
    settings: Settings = current_app.config["SETTINGS"]
    operations = services().operations
    services().store.keep()
    try:
        if settings.engine == "worker":
            engine.run(operations)
        elif settings.engine == "celery":
            engine.run_celery(operations, settings.broker_url)
        else:
            raise click.ClickException(
                "VMAPI_ENGINE=thread: the processes that serve carry operations on themselves"
            )
    finally:
        services().store.close()


@click.group()
def db() -> None:
    """The database that operations are kept in."""


@db.command()
def upgrade() -> None:
    """Bring the schema up to date; safe to repeat."""
    try:
        click.echo(services().store.upgrade())
    except VmapiError as error:
        raise click.ClickException(error.detail) from None
