"""The repositories on both databases: SQLite always, PostgreSQL where the tests have one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from shutil import rmtree

import pytest

from tests.support.databases import FILE_NAME, THREADS, new_postgresql, remove_rows
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], Database]]:
    """Return one PostgreSQL database for the session, created with its schema on first use."""
    databases: list[Database] = []

    def get() -> Database:
        if not databases:
            url = stack.enter_context(new_postgresql())
            databases.append(Database(url, THREADS, schema.ensure_current))
            stack.callback(databases[0].close)
            schema.upgrade(databases[0])
        return databases[0]

    with ExitStack() as stack:
        yield get


@pytest.fixture(params=["sqlite", "postgresql"])
def url(
    request: pytest.FixtureRequest,
    postgresql: Callable[[], Database],
    new_database_folder: Callable[[], str],
) -> Iterator[str]:
    """The URL of a database with empty tables."""
    if request.param == "postgresql":
        remove_rows(postgresql())
        yield postgresql().engine.url.render_as_string(hide_password=False)
        return
    folder = new_database_folder()
    yield f"sqlite:///{folder}/{FILE_NAME}"
    rmtree(folder)


@pytest.fixture
def connect(url: str) -> Iterator[Callable[[], Database]]:
    """Open the database as another process does."""
    with ExitStack() as stack:

        def open_database() -> Database:
            database = Database(url, THREADS, schema.ensure_current)
            stack.callback(database.close)
            return database

        yield open_database


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
