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
from vmapi.api.request.context import current_services
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import ANONYMOUS_SUBJECT
from vmapi.domain.project import PROJECT_NAME_PATTERN
from vmapi.domain.roles import Role
from vmapi.errors import VmapiError

DURATION_PATTERN = re.compile(r"([0-9]{1,4})([mhd])", re.ASCII)
DURATION_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
TOKEN_SUBJECT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)
"""Without a colon: that marks the names which come from outside."""


def _parse_duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    found = DURATION_PATTERN.fullmatch(text)
    if found is None:
        raise click.BadParameter("a number and m, h or d, as 30d")
    return timedelta(**{DURATION_UNITS[found[2]]: int(found[1])})


def _parse_lifetime(context: click.Context, option: click.Parameter, text: str) -> timedelta | None:
    return None if text == "never" else _parse_duration(context, option, text)


def _check_pattern(pattern: re.Pattern[str], allowed: str) -> Callable[..., str | None]:
    def check(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
        if text is not None and (pattern.fullmatch(text) is None or text == ANONYMOUS_SUBJECT):
            raise click.BadParameter(allowed)
        return text

    return check


def _with_store(command: Callable[..., None]) -> Callable[..., None]:
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
            current_services().store.close()

    return wrapper


@click.group()
def token() -> None:
    """API tokens: who has one may do what its role may."""


@token.command()
@click.option(
    "--subject",
    required=True,
    callback=_check_pattern(TOKEN_SUBJECT_PATTERN, "1 to 100 of letters, digits and . _ @ -"),
    help="who has it, for the audit trail",
)
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option(
    "--project",
    callback=_check_pattern(PROJECT_NAME_PATTERN, "1 to 64 of letters, digits and . _ -"),
    help="whose VMs it sees and makes; unless given that of VMAPI_DEFAULT_PROJECT",
)
@click.option(
    "--expires", default="90d", show_default=True, callback=_parse_lifetime, help="30d, 12h, never"
)
@_with_store
def create(subject: str, role: str, project: str | None, expires: timedelta | None) -> None:
    """Make a token. It is printed on stdout, this once."""
    home = project or current_app.config["SETTINGS"].default_project
    _print_token(
        *current_services().api_tokens.create(
            subject, Role(role), home, expires, _operator_subject()
        )
    )


@token.command("list")
@_with_store
def list_tokens() -> None:
    """Show all tokens, but not what opens the door."""
    row = "{:<36}  {:<8}  {:<8}  {:<16}  {:<16}  {:<16}  {}"
    tokens = current_services().api_tokens.list_tokens()
    click.echo(row.format("id", "state", "role", "project", "expires", "last used", "subject"))
    for found, state in tokens:
        times = (_format_time(found.expires_at), _format_time(found.last_used_at))
        click.echo(row.format(found.id, state, found.role, found.project, *times, found.subject))


@token.command()
@click.argument("id")
@_with_store
def revoke(id: str) -> None:
    """Take a token back: within five seconds no process lets it in."""
    if not current_services().api_tokens.revoke(id, _operator_subject()):
        raise click.ClickException(f"no active token has the id {id}: flask --app wsgi token list")


@token.command()
@click.argument("id")
@click.option(
    "--overlap",
    default="0m",
    show_default=True,
    callback=_parse_duration,
    help="for how long the old one is still good, as 1h",
)
@_with_store
def rotate(id: str, overlap: timedelta) -> None:
    """Make a new token in the place of an old one, which ends."""
    made = current_services().api_tokens.rotate(id, overlap, _operator_subject())
    if made is None:
        raise click.ClickException(f"no active token has the id {id}: flask --app wsgi token list")
    _print_token(*made)


@click.command()
def roles() -> None:
    """Print who may what, as docs/authorization.md has it."""
    click.echo(matrix.authorization_table(current_app))


def _print_token(secret: str, token: ApiToken) -> None:
    click.echo(secret)
    click.echo(f"id {token.id}, expires {_format_time(token.expires_at)}", err=True)


def _format_time(at: datetime | None) -> str:
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M")


def _operator_subject() -> str:
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        # in a container there may be no name for it
        return f"cli:{uid}"
