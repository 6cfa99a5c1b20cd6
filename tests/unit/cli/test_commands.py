"""What operators are told: `flask check`, `flask db upgrade`, `flask worker`."""

from pathlib import Path

import pytest

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.cli import commands as cli
from vmapi.settings.memory import parse_faults, parse_latency
from vmapi.settings.settings import DECLARATIONS, Settings
from vmapi.store.schema import HEAD_REVISION


def check(settings: Settings, backend: MemoryBackend) -> tuple[int, dict[str, str], str]:
    """Return the exit code, the table and the last line."""
    app = create_app(settings, backend)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["check"])
    *table, last = result.output.splitlines()
    return result.exit_code, {line[:24].strip(): line[25:] for line in table}, last


def test_check() -> None:
    settings = Settings(log_level="CRITICAL", openstack_password="hunter2", openstack_username="me")
    code, table, last = check(settings, MemoryBackend(latency=parse_latency("create=2")))
    assert (code, last) == (0, "the cloud answers")
    assert {declared.name for declared in DECLARATIONS.values()} <= set(table)
    assert table["VMAPI_BACKEND"] == "memory"
    assert table["VMAPI_WORKERS"] == "1"
    assert table["VMAPI_AUTH"] == "none"
    assert table["OPENSTACK_USERNAME"] == "me"
    assert table["OPENSTACK_PASSWORD"] == "(set, hidden)"
    assert table["OS_CLOUD"] == table["VMAPI_MEMORY_FAULTS"] == "-"
    assert table["latency"] == "create=2"


def test_a_password_that_is_not_set() -> None:
    _, table, _ = check(Settings(log_level="CRITICAL"), MemoryBackend())
    assert table["OPENSTACK_PASSWORD"] == "-"


def test_the_cloud_does_not_answer() -> None:
    backend = MemoryBackend(faults=parse_faults("unavailable=100%"))
    code, table, last = check(Settings(log_level="CRITICAL"), backend)
    assert code == 1
    assert table["VMAPI_BACKEND"] == "memory"
    assert last.startswith("Error: the cloud does not answer: The in-memory cloud was told to be")


def test_secrets_are_not_shown() -> None:
    settings = Settings(
        log_level="CRITICAL",
        database_url="postgresql+psycopg://u:hunter2@127.0.0.1:1/n",
        broker_url="amqp://u:hunter2@127.0.0.1:1//",
    )
    _, table, _ = check(settings, MemoryBackend())
    assert "hunter2" not in str(table)
    assert table["VMAPI_DATABASE_URL"] == table["VMAPI_BROKER_URL"] == "(set, hidden)"
    assert table["VMAPI_ENGINE"] == "thread"


def test_what_is_not_set_is_not_shown_as_set() -> None:
    _, table, _ = check(Settings(log_level="CRITICAL"), MemoryBackend())
    assert table["VMAPI_BROKER_URL"] == "amqp://guest:guest@127.0.0.1:5672//"
    assert "(set, hidden)" not in table.values()


def run(settings: Settings, *args: str, backend: MemoryBackend | None = None) -> tuple[int, str]:
    app = create_app(settings, backend or MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=args)
    app.extensions["vmapi"].store.close()
    return result.exit_code, result.output


def test_upgrade(tmp_path: Path) -> None:
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{tmp_path}/x.sqlite3")
    for _ in range(2):
        assert run(settings, "db", "upgrade") == (0, f"the database is at {HEAD_REVISION}\n")


def test_upgrade_of_what_is_not_there() -> None:
    url = "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"
    app = create_app(Settings(log_level="CRITICAL", database_url=url), MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert (result.exit_code, result.output) == (
        *(1,),
        "Error: vmapi's database does not answer.\n",
    )


def test_no_worker_where_the_processes_that_serve_do_the_work() -> None:
    code, told = run(Settings(log_level="CRITICAL"), "worker")
    assert code == 1
    assert told.startswith("Error: VMAPI_ENGINE=thread: the processes that serve carry")


class Elsewhere(MemoryBackend):
    """The memory cloud, as if it were one for several processes."""

    single_process = False


@pytest.mark.parametrize("engine", ["worker", "celery"])
def test_a_worker_keeps_what_it_takes_on(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    monkeypatch.setattr(
        cli.engine, "run_worker", lambda operations, chores: ran.append(operations.leased())
    )
    monkeypatch.setattr(
        cli.engine,
        "run_celery_worker",
        lambda operations, chores, url: ran.append(operations.leased()),
    )
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    settings = Settings(log_level="CRITICAL", database_url=url, engine=engine)
    app = create_app(settings, Elsewhere())
    store = app.extensions["vmapi"].store
    kept = []
    monkeypatch.setattr(store.operations, "renew_across_ticks", lambda: kept.append(True))
    with app.app_context():
        assert app.test_cli_runner().invoke(args=["worker"]).exit_code == 0
    assert (ran, kept) == ([[]], [True])
    app.extensions["vmapi"].engine.stop()
