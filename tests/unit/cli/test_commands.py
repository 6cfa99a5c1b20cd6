"""The commands `check`, `db upgrade` and `worker`."""

import json
from pathlib import Path

import pytest

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.cli import worker as worker_command
from vmapi.settings.memory import parse_faults, parse_latency
from vmapi.settings.settings import DECLARATIONS, Settings
from vmapi.store.schema import HEAD_REVISION

UNREACHABLE_URL = "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"
UNREACHABLE_DATABASE = (
    "Error: vmapi's database does not answer: connection failed: connection to server at "
    '"127.0.0.1", port 1 failed: Connection refused'
)


def check(settings: Settings, backend: MemoryBackend) -> tuple[int, dict[str, str], str]:
    """Return the exit code, the table and the last line of `check`."""
    app = create_app(settings, backend)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["check"])
    *table, last = result.output.splitlines()
    return result.exit_code, {line[:26].strip(): line[27:] for line in table}, last


def test_check_prints_settings_and_description_of_the_cloud() -> None:
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


def test_check_prints_one_json_document() -> None:
    settings = Settings(log_level="CRITICAL", openstack_password="hunter2")
    for faults, status, failures in (("", 0, 0), ("unavailable=100%", 1, 1)):
        app = create_app(settings, MemoryBackend(faults=parse_faults(faults)))
        with app.app_context():
            result = app.test_cli_runner().invoke(args=["check", "--json"])
        document = json.loads(result.stdout)
        assert (result.exit_code, len(document["failures"])) == (status, failures)
        assert document["OPENSTACK_PASSWORD"] == "(set, hidden)"
        assert document["database"] == "does not exist yet: a server creates it"


def test_check_prints_a_dash_for_an_unset_secret() -> None:
    _, table, _ = check(Settings(log_level="CRITICAL"), MemoryBackend())
    assert table["OPENSTACK_PASSWORD"] == "-"


def test_check_fails_if_the_cloud_does_not_answer() -> None:
    backend = MemoryBackend(faults=parse_faults("unavailable=100%"))
    code, table, last = check(Settings(log_level="CRITICAL"), backend)
    assert code == 1
    assert table["VMAPI_BACKEND"] == "memory"
    assert last.startswith("Error: the cloud does not answer: The in-memory cloud is unavailable")


def test_check_reports_a_database_file_that_the_system_hides(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{path}")
    code, table, last = check(settings, MemoryBackend())
    assert (code, table["VMAPI_BACKEND"], table["latency"]) == (1, "memory", "0")
    assert last.startswith("Error: vmapi's database file cannot be opened: ")
    assert "File name too long" in last


def test_check_says_why_the_database_does_not_answer(tmp_path: Path) -> None:
    settings = Settings(log_level="CRITICAL", database_url=UNREACHABLE_URL)
    code, table, last = check(settings, MemoryBackend())
    assert (code, table.get("database")) == (1, None)
    assert last.startswith(UNREACHABLE_DATABASE)
    path = tmp_path / "vmapi.sqlite3"
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{path}")
    code, table, _ = check(settings, MemoryBackend())
    assert (code, table["database"]) == (0, "does not exist yet: a server creates it")
    assert not path.exists()
    run(settings, "db", "upgrade")
    assert check(settings, MemoryBackend())[1]["database"] == "answers"
    path.write_bytes(b"no database" * 1000)
    code, _, last = check(settings, MemoryBackend())
    assert code == 1
    assert last == f"Error: vmapi's database is damaged: {path}: file is not a database"


def test_check_hides_secrets() -> None:
    settings = Settings(
        log_level="CRITICAL",
        database_url=UNREACHABLE_URL,
        broker_url="amqp://u:hunter2@127.0.0.1:1//",
    )
    _, table, _ = check(settings, MemoryBackend())
    assert "hunter2" not in str(table)
    assert table["VMAPI_DATABASE_URL"] == table["VMAPI_BROKER_URL"] == "(set, hidden)"
    assert table["VMAPI_ENGINE"] == "thread"


def test_check_prints_the_default_of_a_secret() -> None:
    _, table, _ = check(Settings(log_level="CRITICAL"), MemoryBackend())
    assert table["VMAPI_BROKER_URL"] == "amqp://guest:guest@127.0.0.1:5672//"
    assert "(set, hidden)" not in table.values()


def run(settings: Settings, *args: str, backend: MemoryBackend | None = None) -> tuple[int, str]:
    app = create_app(settings, backend or MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=args)
    app.extensions["vmapi"].store.close()
    return result.exit_code, result.output


def test_upgrade_can_be_repeated(tmp_path: Path) -> None:
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{tmp_path}/x.sqlite3")
    for _ in range(2):
        assert run(settings, "db", "upgrade") == (0, f"the database is at {HEAD_REVISION}\n")


def test_upgrade_prints_one_json_document(tmp_path: Path) -> None:
    settings = Settings(log_level="CRITICAL", database_url=f"sqlite:///{tmp_path}/x.sqlite3")
    code, output = run(settings, "db", "upgrade", "--json")
    assert (code, json.loads(output)) == (0, {"revision": HEAD_REVISION})


def test_upgrade_reports_an_unreachable_database() -> None:
    app = create_app(Settings(log_level="CRITICAL", database_url=UNREACHABLE_URL), MemoryBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert result.output.startswith(UNREACHABLE_DATABASE)


def test_worker_refuses_the_engine_thread() -> None:
    code, output = run(Settings(log_level="CRITICAL"), "worker")
    assert code == 1
    assert output.startswith("Error: VMAPI_ENGINE=thread: the serving processes run operations")


class MultiProcessBackend(MemoryBackend):
    """The in-memory cloud, declared as one for several processes."""

    single_process = False


@pytest.mark.parametrize("engine", ["worker", "celery"])
def test_worker_renews_the_leases_of_its_operations(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased = []
    monkeypatch.setattr(
        worker_command,
        "run_worker",
        lambda operations, tasks: leased.append(operations.list_leased()),
    )
    monkeypatch.setattr(
        worker_command,
        "run_celery_worker",
        lambda operations, tasks, url: leased.append(operations.list_leased()),
    )
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    settings = Settings(log_level="CRITICAL", database_url=url, engine=engine)
    app = create_app(settings, MultiProcessBackend())
    store = app.extensions["vmapi"].store
    renewals = []
    monkeypatch.setattr(store.operations, "renew_across_ticks", lambda: renewals.append(True))
    with app.app_context():
        assert app.test_cli_runner().invoke(args=["worker"]).exit_code == 0
    assert (leased, renewals) == ([[]], [True])
    app.extensions["vmapi"].engine.stop()
