"""A PostgreSQL server for one test, durable: committed data survive a kill."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from tests.support.processes import free_port


def find_programs() -> Path | None:
    """Return the folder of the newest server's programs; None without a server."""
    programs = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(programs, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None


class PostgresqlServer:
    """A server on loopback with its files in `folder`."""

    def __init__(self, bin: Path, folder: Path, primary: "PostgresqlServer | None" = None) -> None:
        self._bin, self._folder, self.port = bin, folder, free_port()
        self._is_running = False
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        if primary is None:
            options = ("-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8")
            self._run("initdb", *options)
        else:
            source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
            self._run("pg_basebackup", "--write-recovery-conf", "--wal-method=stream", "-d", source)

    def start(self) -> None:
        """Start the server, and wait until the recovery has finished."""
        settings = "-c listen_addresses=127.0.0.1 -c max_connections=300"
        options = f"-p {self.port} -k {self._folder} {settings}"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        self._is_running = True

    def kill(self) -> None:
        """Stop the server at once: connections break, there is no checkpoint."""
        if self._is_running:
            self._run("pg_ctl", "-m", "immediate", "stop")
            self._is_running = False

    def restart(self) -> None:
        """Kill the server, and start it again."""
        self.kill()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop all processes of the server during the block; connections stay open."""
        postmaster = int((self._folder / "data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        # the postmaster first: it starts no other process then
        processes = (postmaster, *map(int, children))
        try:
            for pid in processes:
                _signal(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in processes:
                _signal(pid, signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby the primary, and wait until it accepts writes."""
        self._run("pg_ctl", "-w", "promote")

    def require_standby(self) -> None:
        """Let each commit wait until the standby has it."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            connection.execute("SELECT pg_reload_conf()")

    def set_password(self, password: str) -> None:
        """Change the password of the role `vmapi`."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'vmapi'").fetchone()
            verb = "ALTER" if exists else "CREATE"
            connection.execute(f"{verb} ROLE vmapi LOGIN SUPERUSER PASSWORD '{password}'")

    def require_password(self) -> None:
        """Refuse the role `vmapi` without its password."""
        rules = self._folder / "data/pg_hba.conf"
        rules.write_text("host all vmapi 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        self._run("pg_ctl", "reload")

    def end_connections(self) -> None:
        """End all connections of the role `vmapi`."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vmapi'"
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(query)

    def _run(self, program: str, *arguments: str) -> None:
        # the server refuses to run as root
        user_switch = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        command = (
            *user_switch,
            str(self._bin / program),
            "-D",
            str(self._folder / "data"),
            *arguments,
        )
        result = subprocess.run(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert result.returncode == 0, (command, result.stderr)


def _signal(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def serve_postgresql(primary: PostgresqlServer | None = None) -> Iterator[PostgresqlServer]:
    """Run a server for a `with` block, and delete its files afterwards.

    With a `primary` it is its standby.
    """
    programs = find_programs()
    assert programs is not None, "there are no programs of a PostgreSQL server"
    folder = Path(mkdtemp(prefix="vmapi-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        server = PostgresqlServer(programs, folder, primary)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)
