"""Commands for operators: `flask --app wsgi …`."""

import re
from datetime import datetime
from typing import Any

import click
import orjson
from flask import Flask, current_app

from vmapi.api.openapi.permissions import audit_actions
from vmapi.api.request.context import current_services
from vmapi.cli import tokens as cli_access
from vmapi.domain.audit import AUDIT_OUTCOMES, AuditQuery, ChainLink
from vmapi.domain.timestamps import parse_rfc3339
from vmapi.engine import worker as engine
from vmapi.errors import VmapiError
from vmapi.settings.settings import DECLARATIONS, Settings
from vmapi.telemetry import logging


class RFC3339Time(click.ParamType[datetime]):
    """A time of RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the time."""
        try:
            return parse_rfc3339(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def init_app(app: Flask) -> None:
    """Add the commands to the app."""
    for command in (check, worker, db, audit, cli_access.token, cli_access.roles):
        app.cli.add_command(command)


@click.command()
def check() -> None:
    """Tell what is configured and whether the cloud answers; exit 1 when it does not."""
    settings: Settings = current_app.config["SETTINGS"]
    for name, text in _effective_settings(settings).items():
        click.echo(f"{name:<24} {text or '-'}")
    backend, wrong = current_services().backend, ""
    try:
        backend.ping()
    except VmapiError as error:
        wrong = error.detail
    # some of it is known once it was asked
    for name, value in backend.describe().items():
        click.echo(f"{name:<24} {value}")
    backend.close()
    if wrong:
        raise click.ClickException(f"the cloud does not answer: {wrong}")
    click.echo("the cloud answers")


def _effective_settings(settings: Settings) -> dict[str, str]:
    """Return each setting as text, with computed defaults and without secrets."""
    computed = {"workers": settings.worker_count, "auth": settings.auth_schemes}
    rows = {}
    for field_name, declared in DECLARATIONS.items():
        text = declared.render(computed.get(field_name, getattr(settings, field_name)))
        # a default is public: it is in the documentation
        is_hidden = declared.is_secret and text not in ("", declared.default)
        rows[declared.name] = "(set, hidden)" if is_hidden else text
    return rows


@click.command()
def worker() -> None:
    """Carry operations on, in a process of its own (VMAPI_ENGINE=worker or celery)."""
    settings: Settings = current_app.config["SETTINGS"]
    logging.configure(settings.log_level, serves=True)
    operations, chores = current_services().operations, current_services().periodic_tasks
    current_services().store.operations.renew_across_ticks()
    try:
        if settings.engine == "worker":
            engine.run_worker(operations, chores)
        elif settings.engine == "celery":
            engine.run_celery_worker(operations, chores, settings.broker_url)
        else:
            raise click.ClickException(
                "VMAPI_ENGINE=thread: the processes that serve carry operations on themselves"
            )
    finally:
        current_services().store.close()


@click.group()
def db() -> None:
    """The database that operations are kept in."""


@db.command()
def upgrade() -> None:
    """Bring the schema up to date; safe to repeat."""
    try:
        click.echo(f"the database is at {current_services().store.upgrade()}")
    except VmapiError as error:
        raise click.ClickException(error.detail) from None


@click.group()
def audit() -> None:
    """The audit trail: who has changed what."""


@audit.command()
@click.option("--anchor", help="POSITION:MAC, as an earlier run has told it")
def verify(anchor: str | None) -> None:
    """Follow the chain of the trail; exit 1 where something was changed, removed or added."""
    key = current_app.config["SETTINGS"].audit_key
    if key is None:
        raise click.ClickException("VMAPI_AUDIT_KEY is not set: the trail is kept, not chained")
    try:
        verdict = current_services().store.audit.verify(key, _parse_anchor(anchor))
    except VmapiError as error:
        raise click.ClickException(error.detail) from None
    head = verdict.head
    click.echo(
        f"sound from position {verdict.first_position} to {head.position}, {verdict.pending} open"
    )
    if verdict.error is not None:
        raise click.ClickException(verdict.error)
    click.echo(f"anchor {head.position}:{head.mac}")


def _check_action_name(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    known = audit_actions(current_app)
    if text is not None and text not in known:
        raise click.BadParameter(f"it is none of {', '.join(known)}")
    return text


@audit.command()
@click.option("--after", type=RFC3339Time(), help="an RFC 3339 time: what was written after it")
@click.option("--before", type=RFC3339Time(), help="an RFC 3339 time: what was written before it")
@click.option("--user")
@click.option("--project")
@click.option("--action", callback=_check_action_name)
@click.option("--vm-id")
@click.option("--request-id")
@click.option("--token-id")
@click.option("--outcome", type=click.Choice(AUDIT_OUTCOMES))
def export(**asked: Any) -> None:
    """Write the trail to stdout, the oldest entry first: one JSON object a line."""
    try:
        for kept in current_services().store.audit.iterate(AuditQuery(**asked)):
            click.echo(orjson.dumps(kept.to_document()))
    except VmapiError as error:
        raise click.ClickException(error.detail) from None


def _parse_anchor(anchor: str | None) -> ChainLink | None:
    if anchor is None:
        return None
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64}|)", anchor)
    if found is None:
        raise click.BadParameter("it is POSITION:MAC", param_hint="--anchor")
    return ChainLink(int(found[1]), found[2])
