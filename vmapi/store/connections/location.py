"""Where a database is, for operators: without user and password."""

import os

from sqlalchemy import URL

from vmapi.store.connections.sqlite_files import file_path

DEFAULT_PORT = 5432


def describe_location(url: URL) -> str:
    """Return the path of SQLite, or host, port and name of PostgreSQL."""
    if url.get_backend_name() == "sqlite":
        return str(file_path(url) or ":memory:")
    host, port = server_address(url)
    return f"{host}:{port}/{url.database or ''}"


def server_address(url: URL) -> tuple[str, str]:
    """Return host and port of PostgreSQL as libpq finds them: URL, query, environment."""
    query = url.normalized_query
    hosts = (url.host, *query.get("host", ()), os.environ.get("PGHOST"), "local socket")
    ports = (url.port, *query.get("port", ()), os.environ.get("PGPORT"), DEFAULT_PORT)
    return str(next(filter(None, hosts))), str(next(filter(None, ports)))
