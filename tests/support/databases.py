"""Databases for tests: fast temporary SQLite files, and the server of TEST_POSTGRESQL_URL."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.tables import metadata

THREADS = 24
FILE_NAME = "vmapi.sqlite3"
MEMORY_FOLDER = Path("/dev/shm")
"""A file system in memory, where a commit waits for no disk."""
MIN_FREE_BYTES = 1 << 30
"""Free space below which temporary databases go to the disk: containers have 64 MB in memory."""


def create_template(folder: Path) -> Path:
    """Create a SQLite file with the current schema."""
    template = folder / FILE_NAME
    database = Database(f"sqlite:///{template}", 1, schema.ensure_current)
    database.ping()
    database.close()
    return template


def folders_with_copies(template: Path) -> Callable[..., str]:
    """Return a `mkdtemp` that copies a database into each folder, in memory if it has space."""
    is_roomy = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free > MIN_FREE_BYTES
    parent = str(MEMORY_FOLDER) if is_roomy and os.access(MEMORY_FOLDER, os.W_OK) else None

    default_parent = tempfile.gettempdir()

    def mkdtemp(prefix: str = "vmapi-") -> str:
        # a test that changes the folder of temporary files gets its own
        is_changed = tempfile.gettempdir() != default_parent
        folder = tempfile.mkdtemp(prefix=prefix, dir=None if is_changed else parent)
        shutil.copy(template, Path(folder) / FILE_NAME)
        return folder

    return mkdtemp


class SharedDialect:
    """A dialect that equals all others of its class: dialects are parts of keys of statements."""

    # an object that gets another class keeps its memory layout
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class SharedSqliteDialect(SQLiteDialect_pysqlite, SharedDialect):
    supports_statement_cache = True


class SharedPostgresqlDialect(PGDialect_psycopg, SharedDialect):
    supports_statement_cache = True


SHARED_DIALECTS: dict[type, type] = {
    SQLiteDialect_pysqlite: SharedSqliteDialect,
    PGDialect_psycopg: SharedPostgresqlDialect,
}


def engines_with_shared_statements() -> Callable[..., Engine]:
    """Return a `create_engine` that gives all engines one cache of compiled statements.

    SQLAlchemy keeps the cache in the engine.
    """
    cache: Any = None

    def create(url: Any, **options: Any) -> Engine:
        nonlocal cache
        engine = create_engine(url, **options)
        engine.dialect.__class__ = SHARED_DIALECTS[type(engine.dialect)]
        cache = engine._compiled_cache = engine._compiled_cache if cache is None else cache
        return engine

    return create


def postgresql_server() -> str:
    """Return the URL of the server; skip without one, fail where TEST_REQUIRE names it."""
    url = os.environ.get("TEST_POSTGRESQL_URL")
    if url:
        return url
    if "postgresql" in os.environ.get("TEST_REQUIRE", "").split(","):
        pytest.fail("TEST_REQUIRE names postgresql, but TEST_POSTGRESQL_URL is not set")
    pytest.skip("TEST_POSTGRESQL_URL names no PostgreSQL")


@contextmanager
def new_postgresql() -> Iterator[str]:
    """Create an empty database on the server and yield its URL; drop the database afterwards."""
    server, name = make_url(postgresql_server()), f"vmapi_test_{uuid.uuid4().hex}"
    administrator = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with administrator.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            with administrator.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        administrator.dispose()


def remove_rows(database: Database) -> None:
    """Truncate the tables of a PostgreSQL database that have pages: few, after most tests.

    PostgreSQL creates new files for each truncated table and each of its indexes.
    """
    sizes = ", ".join(f"pg_relation_size('{table}')" for table in metadata.tables)
    with database.write() as connection:
        row = connection.execute(text(f"SELECT {sizes}")).one()
        tables = [table for table, size in zip(metadata.tables, row, strict=True) if size]
        if tables:
            connection.execute(text(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY"))
