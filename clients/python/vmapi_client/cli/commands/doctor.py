"""`doctor`."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from vmapi_client.cli.app import App, command
from vmapi_client.cli.connection_checks import ConnectionChecks, Finding
from vmapi_client.cli.exit_codes import (
    FAILED,
    NOT_REACHABLE,
    SUCCESS,
    TIMED_OUT,
    describe_error,
    exit_code_of,
    use_command_terms,
)
from vmapi_client.cli.output.formats import format_value
from vmapi_client.errors import AccessRefused, VmapiError

if TYPE_CHECKING:
    from vmapi_client.sync.client import Client

CHECK_SECONDS = 5.0
MAX_CLOCK_OFFSET_SECONDS = 30.0


@command("doctor", examples="vmctl doctor\nvmctl doctor --context prod")
@click.pass_obj
def diagnose(app: App) -> int:
    """Check URL, proxy, certificate, token, clock and version.

    Each line is one check. The exit code is the one of the first failure.
    """
    code = SUCCESS
    for title, finding in run_checks(app):
        mark = "ok" if finding.exit_code == SUCCESS else "FAILED"
        print(f"{mark:<7} {title:<12} {format_value(finding.text)}", flush=True)
        code = code or finding.exit_code
    if code != SUCCESS:
        print("vmctl: the first failed check is the one to mend first", file=sys.stderr)
    return code


def run_checks(app: App) -> Iterator[tuple[str, Finding]]:
    """Yield a finding for each check. A failure of an early check ends the checks."""
    try:
        client = app.build_client(CHECK_SECONDS)
    except VmapiError as error:
        yield "url", Finding(describe_error(error), exit_code_of(error))
        return
    with client:
        configuration = client.configuration
        origin = use_command_terms(configuration.server.url_origin)
        yield "url", Finding(f"{configuration.root} from {origin}")
        seconds = min(CHECK_SECONDS, app.timeout_seconds or CHECK_SECONDS)
        checks = ConnectionChecks(configuration, client.proxy, seconds)
        needed: list[tuple[str, Callable[[], Finding]]] = [
            *([("proxy", checks.check_proxy)] if client.proxy else []),
            ("connection", checks.check_connection),
            ("server", lambda: check_readiness(client)),
            ("clock", lambda: check_clock(client)),
            ("token", lambda: check_token(client)),
        ]
        for title, check in needed:
            finding = run_check(check)
            yield title, finding
            if title != "clock" and finding.exit_code in (NOT_REACHABLE, TIMED_OUT):
                return


def run_check(check: Callable[[], Finding]) -> Finding:
    """Run a check; an error is its finding."""
    try:
        return check()
    except VmapiError as error:
        return Finding(describe_error(error), exit_code_of(error))


def check_readiness(client: "Client") -> Finding:
    """Read the readiness and the version."""
    version = client.health().version
    base_path = client.configuration.base_path
    readiness = client.readiness()
    states = ", ".join(f"{name} {state}" for name, state in readiness.dependencies.items())
    text = f"{readiness.status} ({states}), API {version} at {base_path}"
    return Finding(text, SUCCESS if readiness.status == "ready" else FAILED)


def check_clock(client: "Client") -> Finding:
    """Compare the clocks: tokens and --older-than depend on them."""
    begin = datetime.now(timezone.utc)
    server = client.health().timestamp
    end = datetime.now(timezone.utc)
    offset = (server - begin - (end - begin) / 2).total_seconds()
    text = f"this clock differs by {abs(offset):.1f} s from the one of the server"
    return Finding(text, FAILED if abs(offset) > MAX_CLOCK_OFFSET_SECONDS else SUCCESS)


def check_token(client: "Client") -> Finding:
    """Send reads with the token."""
    origin = use_command_terms(client.configuration.server.token_origin or "no token")
    next(client.vms.list(page_size=1), None)
    try:
        next(client.audit(page_size=1), None)
    except AccessRefused:
        return Finding(f"accepted ({origin}), without the role admin")
    return Finding(f"accepted ({origin}), with the role admin")
