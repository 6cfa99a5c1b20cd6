"""Commands about who may what: `flask --app wsgi token …` and `roles`."""

import os
import pwd
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import click
from flask import current_app

from vmapi.api.openapi import permission_table as matrix
from vmapi.api.request.context import services
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import PROJECT, UNNAMED
from vmapi.domain.roles import Role
from vmapi.errors import VmapiError

SPAN = re.compile(r"([0-9]{1,4})([mhd])", re.ASCII)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)
"""Without a colon: that marks the names which come from outside."""


def _span(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    found = SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter("a number and m, h or d, as 30d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _lifetime(context: click.Context, option: click.Parameter, text: str) -> timedelta | None:
    return None if text == "never" else _span(context, option, text)


def _matching(pattern: re.Pattern[str], allowed: str) -> Callable[..., str | None]:
    def check(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
        if text is not None and (pattern.fullmatch(text) is None or text == UNNAMED):
            raise click.BadParameter(allowed)
        return text

    return check


def _told(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def wrapper(**given: Any) -> None:
        settings = current_app.config["SETTINGS"]
        if settings.backend == "memory" and settings.database_url is None:
            raise click.ClickException(
                "the database goes with the process: set VMAPI_DATABASE_URL=sqlite:////PATH"
            )
        try:
            command(**given)
        except VmapiError as error:
            raise click.ClickException(error.detail) from None
        finally:
            services().store.close()

    return wrapper


@click.group()
def token() -> None:
    """API tokens: who has one may do what its role may."""


@token.command()
@click.option(
    "--subject",
    required=True,
    callback=_matching(NAME, "1 to 100 of letters, digits and . _ @ -"),
    help="who has it, for the audit trail",
)
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option(
    "--project",
    callback=_matching(PROJECT, "1 to 64 of letters, digits and . _ -"),
    help="whose VMs it sees and makes; unless given that of VMAPI_DEFAULT_PROJECT",
)
@click.option(
    "--expires", default="90d", show_default=True, callback=_lifetime, help="30d, 12h, never"
)
@_told
def create(subject: str, role: str, project: str | None, expires: timedelta | None) -> None:
    """Make a token. It is printed on stdout, this once."""
    home = project or current_app.config["SETTINGS"].default_project
    _show(*services().tokens.create(subject, Role(role), home, expires, _user()))


@token.command("list")
@_told
def list_all() -> None:
    """Show all tokens, but not what opens the door."""
    row = "{:<36}  {:<8}  {:<8}  {:<16}  {:<16}  {:<16}  {}"
    tokens = services().tokens.all()
    click.echo(row.format("id", "state", "role", "project", "expires", "last used", "subject"))
    for found, state in tokens:
        times = (_time(found.expires_at), _time(found.last_used_at))
        click.echo(row.format(found.id, state, found.role, found.project, *times, found.subject))


@token.command()
@click.argument("id")
@_told
def revoke(id: str) -> None:
    """Take a token back: within five seconds no process lets it in."""
    if not services().tokens.revoke(id, _user()):
        raise click.ClickException(f"no active token has the id {id}: flask --app wsgi token list")


@token.command()
@click.argument("id")
@click.option(
    "--overlap",
    default="0m",
    show_default=True,
    callback=_span,
    help="for how long the old one is still good, as 1h",
)
@_told
def rotate(id: str, overlap: timedelta) -> None:
    """Make a new token in the place of an old one, which ends."""
    made = services().tokens.rotate(id, overlap, _user())
    if made is None:
        raise click.ClickException(f"no active token has the id {id}: flask --app wsgi token list")
    _show(*made)


@click.command()
def roles() -> None:
    """Print who may what, as docs/authorization.md has it."""
    click.echo(matrix.table(current_app))


def _show(secret: str, made: ApiToken) -> None:
    click.echo(secret)
    click.echo(f"id {made.id}, expires {_time(made.expires_at)}", err=True)


def _time(at: datetime | None) -> str:
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M")


def _user() -> str:
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        # in a container there may be no name for it
        return f"cli:{uid}"
