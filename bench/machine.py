"""Describe the machine and the versions of a measurement."""

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.databases import describe_postgresql
from bench.environments import read_twin_versions
from bench.options import RunOptions
from bench.processes import ROOT

QUIET_LOAD = 0.5
"""The load average above which the results are not to be trusted."""


PACKAGES = ("flask", "gunicorn", "sqlalchemy", "openstacksdk")


def describe_machine() -> dict[str, str]:
    """Return the date, the commit, the machine and the versions by title."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": read_commit(),
        "machine": f"{os.cpu_count()} cores, {read_processor()}, {platform.machine()}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "vmapi and floor": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "SQLite": sqlite3.sqlite_version,
        "load at the start": f"{read_load():.2f}",
    }


def describe_run(options: RunOptions) -> dict[str, str]:
    """Return the facts about the machine, the rivals and the databases by title."""
    rivals, postgresql = read_twin_versions(), options.postgresql_url
    return {
        **describe_machine(),
        "twin": ", ".join(f"{name} {rivals[name]}" for name in ("fastapi", "pydantic", "uvicorn")),
        "PostgreSQL": describe_postgresql(postgresql) if postgresql else "not measured",
        "load generator": read_wrk_version(),
    }


def read_commit() -> str:
    """Return the commit of the working tree, and whether the tree differs from it."""
    command = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def read_processor() -> str:
    """Return the model of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def read_wrk_version() -> str:
    """Return the version of wrk."""
    result = subprocess.run(("wrk", "-v"), capture_output=True, text=True, check=False)
    return " ".join(result.stdout.split()[:2])


def read_load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]
