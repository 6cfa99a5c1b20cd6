"""Describe the machine of a measurement."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version


def describe_machine() -> str:
    """Return a line with the date, the machine and the versions."""
    today = datetime.now(UTC).date().isoformat()
    stack = ", ".join(f"{name} {version(name)}" for name in ("flask", "gunicorn", "openstacksdk"))
    return (
        f"{today}, {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, {stack}"
    )
