"""Read the counts of PostgreSQL: transactions, WAL, CPU time, connections, scans, lock waits."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text

from bench.processes import list_children, read_cpu_seconds, read_ended_cpu_seconds

LARGE_TABLES = ("vms", "operations", "audit_entries")
SAMPLE_SECONDS = 0.05
REPORT_SECONDS = 11.0
"""Seconds after which a connection without work has reported its counts (PGSTAT_IDLE_INTERVAL)."""

COUNTS = """SELECT xact_commit + xact_rollback AS transactions, deadlocks,
    pg_current_wal_lsn() - '0/0'::pg_lsn AS wal_bytes,
    (SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname = ANY(:tables)) AS full_scans
    FROM pg_stat_database WHERE datname = current_database()"""
ACTIVITY = """SELECT count(*) AS connections, count(*) FILTER (WHERE state = 'active') AS active,
    count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting
    FROM pg_stat_activity WHERE datname = :database"""
ROW_BYTES = "SELECT pg_total_relation_size('{table}') / count(*)::float FROM {table}"
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = :database"


@dataclass(frozen=True)
class Counts:
    """Counts since the start of the database."""

    transactions: float
    deadlocks: float
    wal_bytes: float
    full_scans: float
    """Sequential scans of the large tables."""


@dataclass
class Activity:
    """Samples of all connections."""

    max_connections: int = 0
    active: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    @property
    def waiting_share(self) -> float:
        """The share of the running statements that waited for a lock."""
        return sum(self.waiting) / max(sum(self.active), 1)


class PostgresqlProbe:
    """Reads the counts of one database. It samples from another database, and so counts nothing."""

    def __init__(self, database_url: str, server_url: str, report_seconds: float) -> None:
        self._report_seconds = report_seconds
        self._database = make_url(database_url).database
        self._engine = create_engine(database_url, pool_size=1)
        self._observer: Engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
        (pid,) = self._query(self._observer, "SELECT pg_backend_pid()")
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self._server_pid = int(fields[1])

    @property
    def engine(self) -> Engine:
        """Connections to the database."""
        return self._engine

    def read_counts(self) -> Counts:
        """Wait until all connections have reported their counts, and return them."""
        time.sleep(self._report_seconds)
        row = self._query(self._engine, COUNTS, tables=list(LARGE_TABLES))
        return Counts(*map(float, row))

    def read_cpu_seconds(self) -> float:
        """Return the CPU time of all processes of the server."""
        running = [self._server_pid, *list_children(self._server_pid)]
        return sum(map(read_cpu_seconds, running)) + read_ended_cpu_seconds(self._server_pid)

    def read_backend_mib(self) -> float:
        """Return the mean private memory of a connection, in MiB."""
        with self._observer.connect() as connection:
            pids = connection.execute(text(BACKENDS), {"database": self._database}).scalars().all()
        return sum(map(_read_private_mib, pids)) / len(pids)

    def read_row_bytes(self) -> dict[str, float]:
        """Return the mean size of a row with its part of the indexes, by table."""
        return {
            table: self._query(self._engine, ROW_BYTES.format(table=table))[0]
            for table in LARGE_TABLES
        }

    @contextmanager
    def sampling(self) -> Iterator[Activity]:
        """Sample the connections during the block."""
        activity, stopping = Activity(), threading.Event()
        thread = threading.Thread(target=self._sample, args=(activity, stopping))
        thread.start()
        try:
            yield activity
        finally:
            stopping.set()
            thread.join()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._observer.dispose()

    def _sample(self, activity: Activity, stopping: threading.Event) -> None:
        while not stopping.wait(SAMPLE_SECONDS):
            row = self._query(self._observer, ACTIVITY, database=self._database)
            activity.max_connections = max(activity.max_connections, row[0])
            activity.active.append(row[1])
            activity.waiting.append(row[2])

    def _query(self, engine: Engine, statement: str, **parameters: Any) -> Any:
        with engine.connect() as connection:
            return connection.execute(text(statement), parameters).one()


def _read_private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
