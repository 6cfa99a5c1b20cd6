"""`token`: create, list, revoke and rotate API tokens."""

import os
import pwd
import re
from collections.abc import Callable
from datetime import datetime, timedelta

import click

from vmapi.cli.context import services, settings, using_database
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import ANONYMOUS_SUBJECT
from vmapi.domain.project import PROJECT_NAME_PATTERN
from vmapi.domain.roles import Role

DURATION_PATTERN = re.compile(r"([0-9]{1,4})([mhd])", re.ASCII)
DURATION_UNITS = {"m": "minutes", "h": "hours", "d": "days"}

#: Without a colon, which marks the subjects of other issuers (`jwt:…`, `keystone:…`).
TOKEN_SUBJECT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)


def _parse_duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    match = DURATION_PATTERN.fullmatch(text)
    if match is None:
        raise click.BadParameter("a number and m, h or d, as 30d")
    return timedelta(**{DURATION_UNITS[match[2]]: int(match[1])})


def _parse_lifetime(context: click.Context, option: click.Parameter, text: str) -> timedelta | None:
    return None if text == "never" else _parse_duration(context, option, text)


def _check_pattern(pattern: re.Pattern[str], allowed: str) -> Callable[..., str | None]:
    def check(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
        if text is not None and (pattern.fullmatch(text) is None or text == ANONYMOUS_SUBJECT):
            raise click.BadParameter(allowed)
        return text

    return check


@click.group()
def token() -> None:
    """Create, list, revoke and rotate API tokens."""


@token.command()
@click.option(
    "--subject",
    required=True,
    callback=_check_pattern(TOKEN_SUBJECT_PATTERN, "1 to 100 of letters, digits and . _ @ -"),
    help="the holder of the token, as the audit trail names it",
)
@click.option(
    "--role",
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="the role of the holder",
)
@click.option(
    "--project",
    callback=_check_pattern(PROJECT_NAME_PATTERN, "1 to 64 of letters, digits and . _ -"),
    help="the project of the VMs that the holder sees and creates [default: VMAPI_DEFAULT_PROJECT]",
)
@click.option(
    "--expires",
    default="90d",
    show_default=True,
    callback=_parse_lifetime,
    help="the lifetime: 30d, 12h, never",
)
@using_database(creates=True)
def create(subject: str, role: str, project: str | None, expires: timedelta | None) -> None:
    """Create a token and print it.

    The token is the only output on stdout. It cannot be printed again.
    """
    project = project or settings().default_project
    _print_token(*services().api_tokens.create(subject, Role(role), project, expires, _operator()))


@token.command("list")
@using_database()
def list_tokens() -> None:
    """List all tokens, without their secrets."""
    row = "{:<36}  {:<8}  {:<8}  {:<16}  {:<16}  {:<16}  {}"
    tokens = services().api_tokens.list_tokens()
    click.echo(row.format("id", "state", "role", "project", "expires", "last used", "subject"))
    for token, state in tokens:
        times = (_format_time(token.expires_at), _format_time(token.last_used_at))
        click.echo(row.format(token.id, state, token.role, token.project, *times, token.subject))


@token.command()
@click.argument("id")
@using_database()
def revoke(id: str) -> None:
    """Revoke a token; every process rejects it within five seconds."""
    if not services().api_tokens.revoke(id, _operator()):
        raise click.ClickException(f"no active token has the id {id}: flask --app wsgi token list")


@token.command()
@click.argument("id")
@click.option(
    "--overlap",
    default="0m",
    show_default=True,
    callback=_parse_duration,
    help="how long the old token stays valid, as 1h",
)
@using_database()
def rotate(id: str, overlap: timedelta) -> None:
    """Replace a token by a new one with the same subject, role, project and lifetime.

    Prints the new token as `create` does.
    """
    replacement = services().api_tokens.rotate(id, overlap, _operator())
    if replacement is None:
        raise click.ClickException(f"no active token has the id {id}: flask --app wsgi token list")
    _print_token(*replacement)


def _print_token(secret: str, token: ApiToken) -> None:
    click.echo(secret)
    click.echo(f"id {token.id}, expires {_format_time(token.expires_at)}", err=True)


def _format_time(time: datetime | None) -> str:
    return "-" if time is None else time.strftime("%Y-%m-%d %H:%M")


def _operator() -> str:
    """Return the subject of the operator for the audit trail."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        # in a container the uid may have no name
        return f"cli:{uid}"
