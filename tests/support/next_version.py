"""A next version of vmapi: a copy of this one with one migration more."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT, build_environment

UPGRADE_SECONDS = 180
"""Far more than an upgrade takes, which waits for the transactions of running servers."""

NEXT_REVISION = "0002_notes"

MIGRATION = '''"""Add notes to VMs."""

import os
import time
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002_notes"
down_revision = "0001_initial"


def upgrade():
    op.add_column("vms", sa.Column("notes", sa.String(255)))
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True))
    if signal := os.environ.get("REACHED_FILE"):
        Path(signal).touch()
        time.sleep(600)
    {last_statement}


def contract():
    op.create_table("contracted", sa.Column("id", sa.Integer, primary_key=True))
'''


class NextVersion:
    """The code of a next version in a folder, and its commands.

    `last_statement` is the end of its expand step.
    """

    def __init__(self, directory: Path, database_url: str, last_statement: str = "pass") -> None:
        self._directory, self._database_url = directory, database_url
        package = directory / "vmapi"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "vmapi", package, ignore=ignored)
        migration = package / f"store/migrations/versions/{NEXT_REVISION}.py"
        migration.write_text(MIGRATION.replace("{last_statement}", last_statement))

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command."""
        settings = {"VMAPI_DATABASE_URL": self._database_url, **variables}
        environment = build_environment(**settings) | {"PYTHONPATH": str(self._directory)}
        command = [sys.executable, "-m", "vmapi", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self._directory, env=environment, text=True, **pipes)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command, and return its exit code and output."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=UPGRADE_SECONDS)
        return process.returncode, output
