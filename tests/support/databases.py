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

from vmapi.store import schema
from vmapi.store.database import Database

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


def engines_with_shared_statements() -> Callable[..., Engine]:
    """Return a `create_engine` that gives all SQLite engines one cache of compiled statements.

    SQLAlchemy keeps the cache in the engine, and the dialect object is part of its keys.
    """
    shared: list[Engine] = []

    def create(url: Any, **options: Any) -> Engine:
        engine = create_engine(url, **options)
        if engine.dialect.name == "sqlite":
            shared.append(engine)
            engine.dialect = engine.pool._dialect = shared[0].dialect
            engine._compiled_cache = shared[0]._compiled_cache
            del shared[1:]
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
