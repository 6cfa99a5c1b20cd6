"""`support-bundle`: write the state of an installation to one file that is safe to send."""

import gzip
import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from vmapi import __version__
from vmapi.cli.command import OperatorCommand
from vmapi.cli.context import services, settings
from vmapi.cli.output import as_json, print_json, print_note, showing_progress
from vmapi.cli.redaction import Redactor, find_secrets
from vmapi.cli.support_sections import SECTIONS
from vmapi.errors import VmapiError
from vmapi.telemetry.operator_text import operator_text

PRIVATE_FILE_MODE = 0o600

README = f"""\
A support bundle of vmapi {__version__}. It has no secrets, tokens, names of VMs, metadata or user
data. Hidden are secrets, and all settings that may hold any text. Read it before you send it.

versions.json    vmapi, Python, the system, all packages
settings.json    the settings in effect
health.json      whether database, cloud and Keystone answer
database.json    schema, integrity, numbers of rows, VMs, syncs and leases
operations.json  unfinished operations, and the last failed ones with their errors
"""


@click.command("support-bundle", cls=OperatorCommand)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@as_json
def support_bundle(file: Path | None, is_json: bool) -> None:
    """Write a tar.gz with settings, versions, health and the last errors, to send for support.

    It has no secrets, no tokens and no user data, and its mode is 0600. It prints the name of the
    file: by default `vmapi-support-TIME.tar.gz` in the current folder. A part that cannot be read
    has the reason instead. An existing file is never overwritten.
    """
    now = datetime.now(UTC)
    target = (file or Path(f"vmapi-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")).absolute()
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE_MODE)
    except OSError as error:
        raise click.ClickException(f"{target}: {error.strerror}") from None
    with _removing_after_failure(target), os.fdopen(descriptor, "wb") as stream:
        sections = _collect_sections()
        stream.write(pack(sections))
    for name, section in sections.items():
        if "unreadable" in section:
            print_note(f"{name}: {section['unreadable']}")
    services().store.close()
    services().backend.close()
    if is_json:
        print_json({"file": str(target), "size_bytes": target.stat().st_size})
    else:
        click.echo(str(target))
    print_note(f"Read it before you send it: tar -xzOf {target}")


@contextmanager
def _removing_after_failure(path: Path) -> Iterator[None]:
    """Remove a file if the block fails."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _collect_sections() -> dict[str, Any]:
    redactor = Redactor(find_secrets(settings()))
    with showing_progress("Collecting the state of vmapi"):
        return {name: redactor.redact(_read_section(name)) for name in SECTIONS}


def pack(sections: Mapping[str, Any]) -> bytes:
    """Return a tar.gz with a JSON file for each section."""
    files = {"README": README.encode()}
    for name, section in sections.items():
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
        files[f"{name}.json"] = orjson.dumps(section, option=options) + b"\n"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"vmapi-support/{name}")
            member.size, member.mode, member.mtime = len(content), PRIVATE_FILE_MODE, time.time()
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(archive.getvalue())


def _read_section(name: str) -> Any:
    try:
        return SECTIONS[name]()
    except VmapiError as error:
        return {"unreadable": operator_text(error)}
    except Exception as error:
        # a defect must not cost the other sections; its text could hold anything
        return {"unreadable": type(error).__name__}
