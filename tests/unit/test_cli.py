"""`flask check`: what is configured, and whether the cloud answers."""

from dataclasses import fields

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings import Settings


def check(settings: Settings, backend: MemoryBackend) -> tuple[int, dict[str, str], str]:
    """Return the exit code, the table and the last line."""
    app = create_app(settings, backend)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["check"])
    *table, last = result.output.splitlines()
    return result.exit_code, {line[:24].strip(): line[25:] for line in table}, last


def test_check() -> None:
    settings = Settings(log_level="CRITICAL", openstack_password="hunter2", openstack_username="me")
    code, table, last = check(settings, MemoryBackend(latency="create=2"))
    assert (code, last) == (0, "the cloud answers")
    assert {item.metadata["name"] for item in fields(Settings)} <= set(table)
    assert table["VMAPI_BACKEND"] == "memory"
    assert table["VMAPI_WORKERS"] == "1"
    assert table["OPENSTACK_USERNAME"] == "me"
    assert table["OPENSTACK_PASSWORD"] == "(set, hidden)"
    assert table["OS_CLOUD"] == table["VMAPI_MEMORY_FAULTS"] == "-"
    assert table["latency"] == "create=2"


def test_a_password_that_is_not_set() -> None:
    _, table, _ = check(Settings(log_level="CRITICAL"), MemoryBackend())
    assert table["OPENSTACK_PASSWORD"] == "-"


def test_the_cloud_does_not_answer() -> None:
    backend = MemoryBackend(faults="unavailable=100%")
    code, table, last = check(Settings(log_level="CRITICAL"), backend)
    assert code == 1
    assert table["VMAPI_BACKEND"] == "memory"
    assert last.startswith("Error: the cloud does not answer: The in-memory cloud was told to be")
