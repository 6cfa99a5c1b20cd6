"""A PostgreSQL of a test's own, durable: what it has promised is there after it was killed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


def find_programs() -> Path | None:
    """Return where the newest server's programs are; None where there is no server."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class PostgresqlServer:
    """A server on loopback; its files are below `place`."""

    def __init__(self, bin: Path, place: Path) -> None:
        self._bin, self._place, self._port = bin, place, free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"
        how = ("-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8")
        self._run("initdb", *how)

    def start(self) -> None:
        """Start it, and wait until it has recovered what it was killed over."""
        settings = "-c listen_addresses=127.0.0.1 -c max_connections=300"
        options = f"-p {self._port} -k {self._place} {settings}"
        self._run("pg_ctl", "-w", "-l", str(self._place / "log"), "-o", options, "start")

    def kill(self) -> None:
        """End it at once: every connection breaks, nothing is tidied up."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        # the server refuses to run as root
        other = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        command = (*other, str(self._bin / program), "-D", str(self._place / "data"), *arguments)
        done = subprocess.run(
            command, cwd=self._place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode == 0, (command, done.stderr)


@contextmanager
def serve_postgresql() -> Iterator[PostgresqlServer]:
    """Run a server while the block lasts; what it holds is gone afterwards."""
    found = find_programs()
    assert found is not None, "there are no programs of a PostgreSQL server"
    place = Path(mkdtemp(prefix="vmapi-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(place, "postgres")
    try:
        server = PostgresqlServer(found, place)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(place)
