"""A PostgreSQL server for one test, durable: committed data survive a kill."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.support.processes import free_port


def find_programs() -> Path | None:
    """Return the folder of the newest server's programs; None without a server."""
    programs = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(programs, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None


class PostgresqlServer:
    """A server on loopback with its files in `folder`."""

    def __init__(self, bin: Path, folder: Path) -> None:
        self._bin, self._folder, self._port = bin, folder, free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"
        options = ("-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8")
        self._run("initdb", *options)

    def start(self) -> None:
        """Start the server, and wait until the recovery has finished."""
        settings = "-c listen_addresses=127.0.0.1 -c max_connections=300"
        options = f"-p {self._port} -k {self._folder} {settings}"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def kill(self) -> None:
        """Stop the server at once: connections break, there is no checkpoint."""
        self._run("pg_ctl", "-m", "immediate", "stop")

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


@contextmanager
def serve_postgresql() -> Iterator[PostgresqlServer]:
    """Run a server for a `with` block, and delete its files afterwards."""
    programs = find_programs()
    assert programs is not None, "there are no programs of a PostgreSQL server"
    folder = Path(mkdtemp(prefix="vmapi-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        server = PostgresqlServer(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)
