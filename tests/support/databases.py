"""Databases for tests: SQLite files, and a PostgreSQL that TEST_POSTGRESQL_URL names."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text

THREADS = 24


def postgresql_server() -> str:
    """Return the URL of a server that may be used; skip without one, fail where it is required."""
    url = os.environ.get("TEST_POSTGRESQL_URL")
    if url:
        return url
    if "postgresql" in os.environ.get("TEST_REQUIRE", "").split(","):
        pytest.fail("TEST_REQUIRE wants postgresql, but TEST_POSTGRESQL_URL names none")
    pytest.skip("TEST_POSTGRESQL_URL names no PostgreSQL")


@contextmanager
def new_postgresql() -> Iterator[str]:
    """Make an empty database on the server, and return its URL; it is dropped afterwards."""
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
