"""Access of the commands to the app: its settings, its services, its errors."""

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, cast

import click
from flask import current_app

from vmapi.errors import VmapiError
from vmapi.services.container import Services
from vmapi.settings.settings import Settings
from vmapi.telemetry.operator_text import operator_text


def services() -> Services:
    """Return the services of the app."""
    return cast(Services, current_app.extensions["vmapi"])


def settings() -> Settings:
    """Return the settings of the app."""
    return cast(Settings, current_app.config["SETTINGS"])


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Print an error of vmapi as one line, and exit with status 1."""
    try:
        yield
    except VmapiError as error:
        raise click.ClickException(operator_text(error)) from None


def using_database(
    *, creates: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator of a command that uses the database: report errors, close the store.

    Refuses a database that ends with the process. Unless the command `creates` the database,
    refuses a missing SQLite file too: a mistyped path looks like an empty database.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapper(**params: Any) -> None:
            store = services().store
            if store.is_temporary():
                raise click.ClickException(
                    "the database ends with the process: set VMAPI_DATABASE_URL=sqlite:////PATH"
                )
            try:
                with reporting_errors():
                    if not creates and (path := store.find_missing_file()):
                        store.check_creatable()
                        raise click.ClickException(f"there is no database at {path}")
                    command(**params)
            finally:
                store.close()

        return wrapper

    return decorate


def operator_subject() -> str:
    """Return the subject of the operator for the audit trail."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        # in a container the uid may have no name
        return f"cli:{uid}"
