"""Access of the commands to the app: its settings, its services, its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import click
from flask import current_app

from vmapi.errors import StoreUnavailable, VmapiError
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
        raise click.ClickException(describe(error)) from None


def describe(error: VmapiError) -> str:
    """Return the text of an error for an operator: with the driver's words."""
    if isinstance(error, StoreUnavailable) and error.reason != error.detail:
        return f"{error.detail.removesuffix('.')}: {error.reason}"
    return error.detail
