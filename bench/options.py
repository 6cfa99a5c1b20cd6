"""The options of a run."""

import sys
from dataclasses import dataclass
from pathlib import Path

from bench.scale import Scale

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


@dataclass(frozen=True)
class RunOptions:
    """The size of the run, and its place."""

    scale: Scale
    folder: Path
    """The folder of databases and log files."""
    postgresql_url: str | None = None
    """A PostgreSQL in which databases can be created; None: it is not measured."""
    python: str = sys.executable
    """The interpreter of the servers of vmapi."""

    @property
    def databases(self) -> tuple[str, ...]:
        """The kinds of databases that are measured."""
        return (SQLITE, POSTGRESQL) if self.postgresql_url else (SQLITE,)
