"""The store on both databases: SQLite always, PostgreSQL where there is one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.databases import THREADS, new_postgresql
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.tables import metadata


@pytest.fixture(scope="session")
def migrated() -> Iterator[Callable[[], str]]:
    """Make a PostgreSQL at the newest schema, once, when it is first asked for."""
    made: list[str] = []

    def url() -> str:
        if not made:
            made.append(stack.enter_context(new_postgresql()))
            database = Database(made[0], THREADS, schema.ensure_current)
            schema.upgrade(database)
            database.close()
        return made[0]

    with ExitStack() as stack:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, migrated: Callable[[], str]) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/vmapi.sqlite3"
    database = Database(migrated(), THREADS, schema.ensure_current)
    with database.write() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"))
    database.close()
    return migrated()


@pytest.fixture
def connect(url: str) -> Iterator[Callable[[], Database]]:
    """Make connections of further processes to the database."""
    with ExitStack() as stack:

        def database() -> Database:
            made = Database(url, THREADS, schema.ensure_current)
            stack.callback(made.close)
            return made

        yield database


@pytest.fixture
def database(connect: Callable[[], Database]) -> Database:
    return connect()


@pytest.fixture
def make(clock: Clock) -> OperationFactory:
    return OperationFactory(clock)


@pytest.fixture
def store(database: Database, clock: Clock) -> Iterator[OperationRepository]:
    store = OperationRepository(database, clock)
    yield store
    store.close()


@pytest.fixture
def other(connect: Callable[[], Database], clock: Clock) -> Iterator[OperationRepository]:
    """The store of another process."""
    store = OperationRepository(connect(), clock)
    yield store
    store.close()
