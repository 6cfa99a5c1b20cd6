"""The schema is upgraded under load: processes of the older version serve during it and after it.

The next version is this one with one migration more.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from tests.support.cluster_load import ClusterClients, LoadReport
from tests.support.databases import new_postgresql
from tests.support.http_client import HttpClient, wait_until
from tests.support.next_version import NEXT_REVISION, NextVersion
from tests.support.processes import Gunicorn, free_port
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.schema_version import HEAD_REVISION

pytestmark = pytest.mark.disruption

RATES = {f"VMAPI_RATE_{name}": "100000/second" for name in ("ADDRESS", "CHANGES", "READS")}
QUIET_SECONDS = 1.0
"""Seconds of load before and after a migration."""

MakeGunicorn = Callable[..., Gunicorn]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/vmapi.sqlite3"
        return
    with new_postgresql() as url:
        yield url


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The folder of the next version."""
    folder = tmp_path / "next"
    folder.mkdir()
    return folder


@pytest.fixture
def server(gunicorn: MakeGunicorn, database_url: str) -> Gunicorn:
    """A process of this version that serves."""
    upgrade_database(database_url)
    server = gunicorn(VMAPI_DATABASE_URL=database_url, VMAPI_WORKERS="1", **RATES).start()
    server.wait_for("/readyz")
    return server


def upgrade_database(database_url: str) -> None:
    database = Database(database_url, 1, schema.ensure_current)
    schema.upgrade(database)
    database.close()


def list_columns(database_url: str) -> set[str]:
    engine = create_engine(database_url)
    try:
        return {column["name"] for column in inspect(engine).get_columns("vms")}
    finally:
        engine.dispose()


def check_load(report: LoadReport) -> None:
    assert (report.foreign, report.cut) == ([], [])
    assert report.responses["200"] > 10
    assert report.responses["201"] > 3


def test_older_process_serves_during_an_upgrade_and_after_it(
    server: Gunicorn, directory: Path, database_url: str, gunicorn: MakeGunicorn
) -> None:
    next_version = NextVersion(directory, database_url)
    with ClusterClients(server.port).running() as report:
        time.sleep(QUIET_SECONDS)
        assert next_version.run("db", "upgrade") == (0, f"the database is at {NEXT_REVISION}\n")
        time.sleep(QUIET_SECONDS)
    check_load(report)
    assert "notes" in list_columns(database_url)
    server.stop()
    # a process of the older version starts on the newer schema, too
    server.start().wait_for("/readyz")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_newer_process_waits_for_the_upgrade_of_postgresql(
    server: Gunicorn, directory: Path, database_url: str
) -> None:
    next_version = NextVersion(directory, database_url)
    call = HttpClient(free_port())
    process = next_version.start("serve", VMAPI_BIND=f"127.0.0.1:{call.port}")
    detail = f"vmapi's database is at {HEAD_REVISION}, {NEXT_REVISION} is needed: vmapi db upgrade"
    try:
        wait_until("the port", lambda: is_listening(call))
        wait_until("the refusal", lambda: call("GET", "/api/v1/vms").json["detail"] == detail)
        next_version.run("db", "upgrade")
        wait_until("ready", lambda: call("GET", "/readyz").status == 200)
        assert server.call("GET", "/readyz").status == 200
    finally:
        process.terminate()
        process.communicate(timeout=60)


def is_listening(call: HttpClient) -> bool:
    try:
        return call("GET", "/livez").status == 200
    except OSError:
        return False


def test_failed_upgrade_leaves_the_schema_to_the_older_version(
    server: Gunicorn, directory: Path, database_url: str
) -> None:
    next_version = NextVersion(directory, database_url, 'raise RuntimeError("out of luck")')
    with ClusterClients(server.port).running() as report:
        time.sleep(QUIET_SECONDS)
        code, output = next_version.run("db", "upgrade")
        time.sleep(QUIET_SECONDS)
    assert (code, "out of luck" in output) == (1, True)
    check_load(report)
    assert "notes" not in list_columns(database_url)
    server.stop()
    server.start().wait_for("/readyz")


def test_killed_upgrade_leaves_the_schema_to_the_older_version(
    server: Gunicorn, directory: Path, database_url: str
) -> None:
    next_version = NextVersion(directory, database_url)
    signal = directory / "reached"
    with ClusterClients(server.port).running() as report:
        time.sleep(QUIET_SECONDS)
        process = next_version.start("db", "upgrade", REACHED_FILE=str(signal))
        wait_until("the end of the migration", signal.exists)
        process.kill()
        process.communicate(timeout=60)
        time.sleep(QUIET_SECONDS)
    check_load(report)
    assert "notes" not in list_columns(database_url)
    assert next_version.run("db", "upgrade")[0] == 0


def test_contract_ends_the_support_for_the_older_version(
    server: Gunicorn, directory: Path, database_url: str
) -> None:
    next_version = NextVersion(directory, database_url)
    next_version.run("db", "upgrade")
    assert server.call("GET", "/readyz").status == 200
    message = f"the database needs {NEXT_REVISION} or newer\n"
    for _ in range(2):
        assert next_version.run("db", "contract") == (0, message)
    wait_until("unready", lambda: server.call("GET", "/readyz").status == 503)
    dependencies = server.call("GET", "/readyz").json["dependencies"]
    assert dependencies["store"] == "store_unavailable"
    reason = f"vmapi's database needs {NEXT_REVISION} or newer, this version has {HEAD_REVISION}"
    assert server.wait_for_line(message="database unavailable")["reason"].startswith(reason)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        'op.drop_column("vms", "task")',
        'op.execute("ALTER TABLE vms RENAME COLUMN task TO busy")',
        'op.execute("UPDATE vms SET task = NULL")',
        'op.add_column("vms", sa.Column("size", sa.Integer, nullable=False))',
        'op.create_index("one_task", "vms", ["task"], unique=True)',
    ],
)
def test_expand_step_that_would_stop_older_processes_is_refused(
    directory: Path, database_url: str, statement: str
) -> None:
    upgrade_database(database_url)
    code, output = NextVersion(directory, database_url, statement).run("db", "upgrade")
    assert (code, "belongs into a contract step" in output) == (1, True)
    assert "notes" not in list_columns(database_url)
