"""The code of the version before this one, from the history of the repository."""

import filecmp
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.processes import ROOT

MIGRATIONS = "vmapi/store/migrations/versions"


def extract_previous_version(directory: Path) -> str:
    """Write the code of the newest tag, else of the parent commit; return the commit's name.

    Skips without a history, and if this version has changed a migration of that one.
    """
    name = _run_git("describe", "--tags", "--abbrev=0", "HEAD^") or "HEAD^"
    commit = _run_git("rev-parse", "--short", f"{name}^{{commit}}").decode().strip()
    archive = _run_git("archive", commit) if commit else b""
    if not archive:
        pytest.skip("the repository has no history: there is no version to upgrade from")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    for old in (directory / MIGRATIONS).glob("[0-9]*.py"):
        new = ROOT / MIGRATIONS / old.name
        if not new.exists() or not filecmp.cmp(old, new, shallow=False):
            pytest.skip(f"{old.name} differs from that of {commit}: its databases are not upgraded")
    return commit


def _run_git(*arguments: str) -> bytes:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=False).stdout
    except FileNotFoundError:
        return b""
