"""Access of the commands to the app: its settings, its services, its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import click
from flask import current_app

from vmapi.errors import VmapiError
from vmapi.services.container import Services
from vmapi.settings.settings import Settings


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
        raise click.ClickException(error.detail) from None
