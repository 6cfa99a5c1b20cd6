"""`token`: create, list, revoke and rotate API tokens."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from vmapi.cli.command import OperatorGroup
from vmapi.cli.context import operator_subject, services, settings, using_database
from vmapi.cli.output import as_json, print_json, print_table
from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.identity import ANONYMOUS_SUBJECT
from vmapi.domain.access.project import PROJECT_NAME_PATTERN
from vmapi.domain.access.roles import Role
from vmapi.domain.timestamps import format_rfc3339

DURATION_PATTERN = re.compile(r"([0-9]{1,4})([mhd])", re.ASCII)
DURATION_UNITS = {"m": "minutes", "h": "hours", "d": "days"}

#: Without a colon, which marks the subjects of other issuers (`jwt:…`, `keystone:…`).
TOKEN_SUBJECT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)


def _parse_duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    match = DURATION_PATTERN.fullmatch(text)
    if match is None:
        raise click.BadParameter("1 to 4 digits and m, h or d, as 30d")
    return timedelta(**{DURATION_UNITS[match[2]]: int(match[1])})


def _parse_lifetime(context: click.Context, option: click.Parameter, text: str) -> timedelta | None:
    if text == "never":
        return None
    if not (lifetime := _parse_duration(context, option, text)):
        raise click.BadParameter("a token with this lifetime has expired")
    return lifetime


def _check_pattern(pattern: re.Pattern[str], allowed: str) -> Callable[..., str | None]:
    def check(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
        if text is not None and (pattern.fullmatch(text) is None or text == ANONYMOUS_SUBJECT):
            raise click.BadParameter(allowed)
        return text

    return check


@click.group(cls=OperatorGroup)
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
    _print_token(
        *services().api_tokens.create(subject, Role(role), project, expires, operator_subject())
    )


@token.command("list")
@as_json
@using_database()
def list_tokens(is_json: bool) -> None:
    """List all tokens, without their secrets."""
    tokens = services().api_tokens.list_tokens()
    if is_json:
        print_json([_to_document(token, state) for token, state in tokens])
        return
    headers = ("id", "state", "role", "project", "expires", "last used", "subject")
    rows = [
        (token.id, state, token.role, token.project, *_format_times(token), token.subject)
        for token, state in tokens
    ]
    print_table(headers, rows)


@token.command()
@click.argument("id")
@using_database()
def revoke(id: str) -> None:
    """Revoke a token; every process rejects it within five seconds."""
    if not services().api_tokens.revoke(id, operator_subject()):
        raise click.ClickException(f"no active token has the id {id}: vmapi token list")


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
    replacement = services().api_tokens.rotate(id, overlap, operator_subject())
    if replacement is None:
        raise click.ClickException(f"no active token has the id {id}: vmapi token list")
    _print_token(*replacement)


def _print_token(secret: str, token: ApiToken) -> None:
    # first: with the id, a token that could not be printed can be revoked
    click.echo(f"id {token.id}, expires {_format_time(token.expires_at)}", err=True)
    click.echo(secret)


def _to_document(token: ApiToken, state: str) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    return {
        "id": token.id,
        "state": state,
        "subject": token.subject,
        "role": token.role,
        "project": token.project,
        **{name: (at := getattr(token, name)) and format_rfc3339(at) for name in times},
    }


def _format_times(token: ApiToken) -> tuple[str, str]:
    return _format_time(token.expires_at), _format_time(token.last_used_at)


def _format_time(time: datetime | None) -> str:
    return "-" if time is None else time.strftime("%Y-%m-%d %H:%M")
