"""The commands `inventory show` and `inventory sync`."""

import json
from collections.abc import Sequence
from os import getpid
from pathlib import Path

import pytest
from click.testing import Result

from tests.support.factories import VM_1
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout
from vmapi.settings.settings import Settings
from vmapi.store.store import Store


class RemoteBackend(MemoryBackend):
    """A cloud of several processes, with one VM."""

    single_process = False
    has_change_feed = False
    is_hanging = False

    def list_vms(self) -> Sequence[VM]:
        if self.is_hanging:
            raise BackendTimeout("The cloud hangs.")
        return [VM_1]


def run(folder: Path, *args: str, backend: MemoryBackend | None = None) -> Result:
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    settings = Settings(log_level="CRITICAL", database_url=url)
    app = create_app(settings, backend or RemoteBackend())
    with app.app_context():
        result = app.test_cli_runner().invoke(args=("inventory", *args))
    app.extensions["vmapi"].store.close()
    return result


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/vmapi.sqlite3", 1, lambda: VM_1.created_at)
    store.ping()
    return store


def test_show_without_a_sync(tmp_path: Path, store: Store) -> None:
    store.close()
    result = run(tmp_path, "show")
    rows = dict(line.rsplit("  ", 1) for line in result.stdout.splitlines())
    values = {name.strip(): value for name, value in rows.items()}
    assert (result.exit_code, result.stderr) == (0, "")
    assert values["VMs"] == values["RUNNING"] == "0"
    assert values["age"] == values["last full sync"] == values["leader"] == "-"
    assert json.loads(run(tmp_path, "show", "--json").stdout)["full_sync"] == {
        "age_seconds": None,
        "duration_seconds": None,
    }


def test_sync_saves_all_vms_and_their_age(tmp_path: Path, store: Store) -> None:
    assert store.leader_leases.acquire("sync")
    result = run(tmp_path, "sync")
    assert (result.exit_code, result.stderr) == (0, "Reading all VMs from the cloud …\n")
    assert result.stdout.splitlines()[0] == "VMs       1"
    document = json.loads(run(tmp_path, "sync", "--json").stdout)
    assert document["vms_by_status"] == {VM_1.status: 1}
    shown = json.loads(run(tmp_path, "show", "--json").stdout)
    assert shown["vms_by_status"][VM_1.status] == 1
    assert shown["full_sync"]["age_seconds"] >= shown["full_sync"]["duration_seconds"] >= 0
    assert shown["leader"].endswith(f", process {getpid()}")
    store.close()


def test_sync_with_an_unreachable_cloud_changes_nothing(tmp_path: Path, store: Store) -> None:
    store.close()
    run(tmp_path, "sync")
    backend = RemoteBackend()
    backend.is_hanging = True
    result = run(tmp_path, "sync", backend=backend)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "Error: The cloud hangs."
    assert json.loads(run(tmp_path, "show", "--json").stdout)["vms_by_status"][VM_1.status] == 1


def test_sync_of_the_in_memory_cloud_is_refused(tmp_path: Path, store: Store) -> None:
    store.inventory.save_observations([VM_1], store.inventory.observation_time())
    store.close()
    result = run(tmp_path, "sync", backend=MemoryBackend())
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "Error: the in-memory cloud is in the memory of the server: its inventory needs no sync\n",
    )
    shown = run(tmp_path, "show", "--json", backend=MemoryBackend())
    assert json.loads(shown.stdout)["vms_by_status"][VM_1.status] == 1
