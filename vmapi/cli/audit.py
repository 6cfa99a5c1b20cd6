"""`audit`: verify and export the audit trail."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import orjson
from flask import current_app

from vmapi.api.openapi.permissions import audit_actions
from vmapi.cli.command import OperatorGroup
from vmapi.cli.context import services, settings, using_database
from vmapi.cli.output import as_json, print_json
from vmapi.domain.audit import AUDIT_OUTCOMES, AuditQuery, ChainLink
from vmapi.domain.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from vmapi.store.audit.repository import ChainVerification


class RFC3339Time(click.ParamType[datetime]):
    """A time in RFC 3339 format."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the time. Fails for a text in another format."""
        try:
            return parse_rfc3339(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group(cls=OperatorGroup)
def audit() -> None:
    """Verify and export the audit trail."""


@audit.command()
@click.option("--anchor", help="POSITION:MAC as printed by an earlier run")
@as_json
@using_database()
def verify(anchor: str | None, is_json: bool) -> None:
    """Verify the hash chain of the audit trail.

    Exits with status 1 if an entry was changed, removed or added. Prints an anchor: pass it to a
    later run, which then also finds out whether the end of the chain was cut off.
    """
    keys = settings().read_audit_keys()
    if not keys:
        raise click.ClickException("VMAPI_AUDIT_KEY is not set: the trail has no hash chain")
    verification = services().store.audit.verify(keys, _parse_anchor(anchor))
    document = _to_document(verification)
    if is_json:
        print_json(document)
    else:
        click.echo(_describe(verification))
    if verification.error is not None:
        raise click.ClickException(verification.error)
    if not is_json:
        click.echo(f"anchor {document['anchor']}")


def _to_document(verification: "ChainVerification") -> dict[str, Any]:
    head = verification.head
    return {
        "first_position": verification.first_position,
        "last_position": head.position,
        "open": verification.pending,
        "error": verification.error,
        "anchor": None if verification.error else f"{head.position}:{head.mac}",
    }


def _describe(verification: "ChainVerification") -> str:
    first, last = verification.first_position, verification.head.position
    sound = f"sound from position {first} to {last}"
    if last < first:
        sound = "no entry is sound" if verification.error else "the chain has no entries yet"
    return f"{sound}, {verification.pending} open"


def _check_action_name(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    known = audit_actions(current_app)
    if text is not None and text not in known:
        raise click.BadParameter(f"unknown action, allowed are {', '.join(known)}")
    return text


@audit.command()
@click.option("--after", type=RFC3339Time(), help="entries written after this time (RFC 3339)")
@click.option("--before", type=RFC3339Time(), help="entries written before this time (RFC 3339)")
@click.option("--user", help="entries of this user")
@click.option("--project", help="entries of this project")
@click.option("--action", callback=_check_action_name, help="entries of this action")
@click.option("--vm-id", help="entries about this VM")
@click.option("--request-id", help="entries of this request")
@click.option("--token-id", help="entries about this API token")
@click.option("--outcome", type=click.Choice(AUDIT_OUTCOMES), help="entries with this outcome")
@using_database()
def export(**filters: Any) -> None:
    """Write the audit trail to stdout: one JSON object per line, the oldest first."""
    for stored in services().store.audit.iterate(AuditQuery(**filters)):
        click.echo(orjson.dumps(stored.to_document()))


def _parse_anchor(anchor: str | None) -> ChainLink | None:
    if anchor is None:
        return None
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64}|)", anchor)
    if match is None:
        raise click.BadParameter("it is POSITION:MAC", param_hint="--anchor")
    return ChainLink(int(match[1]), match[2])
