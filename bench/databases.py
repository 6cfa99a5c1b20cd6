"""Empty databases for servers."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

from bench.options import SQLITE, RunOptions
from bench.processes import ROOT, build_environment


@contextmanager
def new_database(options: RunOptions, kind: str) -> Iterator[str]:
    """Create a database with the schema of vmapi, and remove it after the block; yield its URL."""
    name = f"vmapi_bench_{uuid.uuid4().hex}"
    if kind == SQLITE:
        yield f"sqlite:///{options.folder}/{name}.sqlite3"
        return
    server = make_url(options.postgresql_url or "")
    administrator = create_engine(server, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            url = server.set(database=name).render_as_string(hide_password=False)
            run_command("db", "upgrade", VMAPI_DATABASE_URL=url)
            yield url
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            administrator.dispose()


def run_command(*arguments: str, **settings: str) -> str:
    """Run a command of vmapi, and return its output."""
    command = (sys.executable, "-m", "flask", "--app", "wsgi", *arguments)
    environment = build_environment(settings)
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def describe_postgresql(url: str) -> str:
    """Return the version of PostgreSQL, and whether it waits for the disk."""
    names = ("server_version", "fsync", "synchronous_commit")
    columns = ", ".join(f"current_setting('{name}')" for name in names)
    engine = create_engine(url)
    with engine.connect() as connection:
        version, *values = connection.execute(text(f"SELECT {columns}")).one()
    engine.dispose()
    switches = ", ".join(map(" ".join, zip(names[1:], values, strict=True)))
    return f"{version.partition(' ')[0]} ({switches})"
