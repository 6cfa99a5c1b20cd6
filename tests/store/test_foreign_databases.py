"""A PostgreSQL database of another program: nothing of vmapi is added to it."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import make_url, text

from tests.support.databases import new_postgresql
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.inspection import inspect
from vmapi.store.tables import metadata

USES = pytest.mark.parametrize(
    "use", [schema.upgrade, Database.ping, inspect], ids=["db upgrade", "serve", "db check"]
)
FOREIGN_SCHEMAS = {
    "no Alembic": ("CREATE TABLE users (id int); CREATE TABLE posts (id int)", "posts, users"),
    "a common name": ("CREATE TABLE events (id int)", "events"),
    "Alembic": (
        "CREATE TABLE users (id int); CREATE TABLE alembic_version (version_num varchar(32)); "
        "INSERT INTO alembic_version VALUES ('another')",
        "users",
    ),
}
LIST_TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")


@pytest.fixture
def database() -> Iterator[Database]:
    """A PostgreSQL database without tables."""
    with new_postgresql() as url:
        database = Database(url, 2, schema.ensure_current)
        yield database
        database.close()


def execute(database: Database, statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements.split("; "):
            connection.exec_driver_sql(statement)


def list_tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(connection.execute(LIST_TABLES).scalars())


@USES
@pytest.mark.parametrize("name", FOREIGN_SCHEMAS)
def test_database_of_another_program_stays_as_it_is(
    database: Database, name: str, use: Callable[[Database], object]
) -> None:
    statements, tables = FOREIGN_SCHEMAS[name]
    execute(database, statements)
    before = list_tables(database)
    with pytest.raises(StoreUnavailable) as caught:
        use(database)
    url = database.engine.url
    assert caught.value.detail == "vmapi's database belongs to another program."
    assert caught.value.reason == (
        f"{url.host}:{url.port}/{url.database} has the tables of another program ({tables}): "
        "name an empty database in VMAPI_DATABASE_URL"
    )
    assert list_tables(database) == before


def test_extensions_and_views_leave_a_database_empty(database: Database) -> None:
    execute(
        database,
        "CREATE TABLE spatial_ref_sys (srid int); CREATE VIEW statistics AS SELECT 1 AS calls; "
        # as after CREATE EXTENSION postgis, which may not be installed
        "INSERT INTO pg_depend SELECT 'pg_class'::regclass, 'spatial_ref_sys'::regclass, 0, "
        "'pg_extension'::regclass, oid, 0, 'e' FROM pg_extension WHERE extname = 'plpgsql'",
    )
    assert schema.upgrade(database) == schema.HEAD_REVISION
    database.ping()
    assert set(metadata.tables) < list_tables(database)


def test_tables_of_another_schema_leave_the_own_one_empty(database: Database) -> None:
    execute(database, "CREATE TABLE users (id int); CREATE SCHEMA vmapi")
    url = make_url(database.engine.url).update_query_dict({"options": "-csearch_path=vmapi"})
    own = Database(url.render_as_string(hide_password=False), 2, schema.ensure_current)
    assert schema.upgrade(own) == schema.HEAD_REVISION
    own.ping()
    own.close()
    assert list_tables(database) == {"users"}


def test_own_database_of_a_newer_version_is_no_foreign_one(database: Database) -> None:
    schema.upgrade(database)
    execute(database, "UPDATE alembic_version SET version_num = '9999', oldest_revision = '9999'")
    with pytest.raises(StoreUnavailable, match="is at 9999, which this version does not know"):
        schema.upgrade(database)
