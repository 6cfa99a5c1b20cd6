"""Store tests: opened once on first use; a temporary database is removed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory, run_concurrently
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.domain.operation import Operation
from vmapi.errors import OperationNotFound, StoreUnavailable
from vmapi.store import store as stores
from vmapi.store.store import Store

ROOT = Path(__file__).parents[3]
INSPECT_SCRIPT = """
import sys, tempfile
from datetime import datetime
tempfile.tempdir = sys.argv[1]
from pathlib import Path
from vmapi.store.store import Store
store = Store(None, 2, datetime.now)
store.close()
print("sqlalchemy" in sys.modules, len(list(Path(sys.argv[1]).iterdir())))
store.ping()
print("sqlalchemy" in sys.modules, len(list(Path(sys.argv[1]).iterdir())))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the temporary databases."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return temporary


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store(None, 4, Clock())
    yield store
    store.close()


def operation(id: str) -> Operation:
    return OperationFactory(Clock())(id, vm_id=id)


def test_unused_store_loads_and_opens_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", INSPECT_SCRIPT, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.splitlines() == ["False 0", "True 1"]
    assert list(tmp_path.iterdir()) == []


def test_each_repository_opens_the_database(folder: Path) -> None:
    for part in ("operations", "audit", "leader_leases"):
        store = Store(None, 2, Clock())
        assert list(folder.iterdir()) == []
        getattr(store, part)
        assert len(list(folder.iterdir())) == 1
        store.close()
        assert list(folder.iterdir()) == []


def test_concurrent_first_uses_open_one_database(store: Store, folder: Path) -> None:
    assert run_concurrently(16, lambda at: store.operations.add(operation(str(at))) is None) == 16
    assert len(store.operations.list_leased()) == 16
    assert len(list(folder.iterdir())) == 1


def test_thread_that_must_not_wait_does_not_open_the_database(store: Store, folder: Path) -> None:
    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(lambda: store.operations)
    assert list(folder.iterdir()) == []
    operations = request.serve_again(lambda: store.operations)
    assert request.serve_without_waiting(lambda: store.operations) is operations


def test_close_removes_the_temporary_database(store: Store, folder: Path) -> None:
    store.close()
    store.operations.add(operation("1"))
    (temporary,) = folder.iterdir()
    assert (temporary / "vmapi.sqlite3").exists()
    assert temporary.stat().st_mode & 0o077 == 0
    for _ in range(2):
        store.close()
        assert list(folder.iterdir()) == []


def test_each_store_has_its_own_database(store: Store) -> None:
    other = Store(None, 2, Clock())
    store.operations.add(operation("1"))
    with pytest.raises(OperationNotFound):
        other.operations.get("1")
    other.close()


def test_close_keeps_a_named_database(tmp_path: Path, folder: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/vmapi.sqlite3"
    for count in (0, 1):
        store = Store(url, 2, Clock())
        assert len(store.operations.list_leased()) == count
        if not count:
            store.operations.add(operation("1"))
            store.leader_leases.acquire("audit")
        store.close()
    assert list(folder.iterdir()) == []


def test_close_without_a_database_lets_leases_expire(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(database: Any, **_: bool) -> AbstractContextManager[object]:
        raise StoreUnavailable("away")

    store.operations.add(operation("1"))
    monkeypatch.setattr("vmapi.store.database.Database.write", away)
    with capture_logs() as logs:
        store.close()
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("leases not released, will expire", "away")
    ]
    assert list(folder.iterdir()) == []


def test_close_does_not_open_the_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.Store, "_open", lambda self: 1 / 0)
    store.close()
