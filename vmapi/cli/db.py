"""`db`: upgrade, check and back up the database."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmapi.cli.command import OperatorGroup
from vmapi.cli.context import services, settings, using_database
from vmapi.cli.output import (
    as_json,
    format_duration,
    format_size,
    print_fields,
    print_json,
    print_note,
    showing_progress,
)
from vmapi.services.cursors import CURSOR_KEY_NAME

if TYPE_CHECKING:
    from vmapi.store.inspection import DatabaseInspection


@click.group(cls=OperatorGroup)
def db() -> None:
    """Upgrade, check and back up the database."""


@db.command()
@as_json
@using_database(creates=True)
def upgrade(is_json: bool) -> None:
    """Upgrade the schema to the version of this vmapi; older processes still serve.

    Safe to repeat.
    """
    revision = services().store.upgrade()
    if is_json:
        print_json({"revision": revision})
    else:
        click.echo(f"the database is at {revision}")


@db.command()
@using_database()
def contract() -> None:
    """Remove what older versions need, after their last process has stopped.

    Safe to repeat.
    """
    click.echo(f"the database needs {services().store.contract()} or newer")


@db.command()
@as_json
@using_database()
def check(is_json: bool) -> None:
    """Check the schema and the integrity of the database; change nothing. Servers may run.

    SQLite reads its whole file (`PRAGMA quick_check`). PostgreSQL's settings are compared.
    Exits with status 1 if a problem is found.
    """
    from vmapi.store.inspection import inspect

    with services().store.opened_as_is() as database, showing_progress("Checking the database"):
        inspection = inspect(database)
    if is_json:
        print_json(_to_document(inspection))
    else:
        _print_inspection(inspection)
    problems = [*_schema_problems(inspection), *inspection.problems]
    if problems:
        raise click.ClickException("\n".join(problems))
    if settings().audit_key is not None:
        print_note("The audit trail has a separate check: vmapi audit verify")


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
@using_database()
def backup(file: Path, is_json: bool) -> None:
    """Write a consistent copy of the SQLite database to a new file. Servers may run.

    The copy has the mode 0600, and is checked. An existing file is never overwritten. For
    PostgreSQL, prints the command of pg_dump, without the password, and exits with status 1.
    """
    from vmapi.store.backup import back_up_sqlite, describe_pg_dump

    target = file.absolute()
    started_at = time.monotonic()
    with services().store.opened_as_is() as database:
        if database.engine.dialect.name != "sqlite":
            _refuse_to_dump(describe_pg_dump(database.engine.url, target), is_json)
        try:
            with showing_progress("Copying the database"):
                size = back_up_sqlite(database, target)
        except FileExistsError as error:
            message = f"{error.filename} exists, and is not overwritten"
            raise click.ClickException(message) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    seconds = time.monotonic() - started_at
    if is_json:
        print_json({"file": str(target), "size_bytes": size, "duration_seconds": round(seconds, 3)})
    else:
        size_text, duration = format_size(size), format_duration(seconds)
        print_fields({"file": target, "size": size_text, "duration": duration})


def _refuse_to_dump(command: str, is_json: bool) -> NoReturn:
    """Print the command that backs PostgreSQL up. Raises ClickException."""
    reason = (
        "nothing was written: back PostgreSQL up by the command above. pg_dump reads the "
        "password from ~/.pgpass, PGPASSFILE or PGPASSWORD"
    )
    if is_json:
        print_json({"command": command, "error": reason})
    else:
        click.echo(command)
    raise click.ClickException(reason)


@db.command()
@using_database()
def rotate_cursor_key() -> None:
    """Replace the key that signs cursors. Servers may run.

    Cursors of the key before stay valid until the next rotation: rotate at most once in 25 hours.
    """
    services().store.signing_keys.rotate(CURSOR_KEY_NAME)
    click.echo("new cursors are signed with the new key, within a minute")


def _to_document(inspection: "DatabaseInspection") -> dict[str, Any]:
    return {
        "kind": inspection.kind,
        "version": inspection.version,
        "location": inspection.location,
        "size_bytes": inspection.size_bytes,
        "revision": inspection.revision,
        "needed_revision": inspection.needed_revision,
        "settings": inspection.settings,
        "problems": [*_schema_problems(inspection), *inspection.problems],
    }


def _schema_problems(inspection: "DatabaseInspection") -> list[str]:
    if inspection.is_current:
        return []
    state = f"is at {inspection.revision}" if inspection.revision else "is empty"
    needed = inspection.needed_revision
    return [f"the schema {state}, this vmapi needs {needed}: vmapi db upgrade, or a newer vmapi"]


def _print_inspection(inspection: "DatabaseInspection") -> None:
    print_fields(
        {
            "database": f"{inspection.kind} {inspection.version}",
            "location": inspection.location,
            "size": format_size(inspection.size_bytes),
            "schema": inspection.revision or "empty",
            **inspection.settings,
            "problems": len(_schema_problems(inspection)) + len(inspection.problems),
        }
    )
