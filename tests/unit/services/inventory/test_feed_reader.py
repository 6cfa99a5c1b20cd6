"""Reads of the change feed: bounded while another reader saves, and never behind."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread

import pytest

from tests.support.factories import T0, VM_1
from tests.support.http_client import WAIT_SECONDS
from vmapi.backends.base import ChangeSet
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.vm import VM
from vmapi.errors import StoreUnavailable
from vmapi.services.inventory.observer import CloudObserver
from vmapi.store.connections.answer_timeout import answer_timeout
from vmapi.store.store import Store


class AnnouncingLock:
    """A lock that says when a thread begins to wait for it."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.is_awaited = Event()
        self.release = lock.release

    def acquire(self, timeout: float) -> bool:
        self.is_awaited.set()
        return self._lock.acquire(timeout=timeout)


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(None, 4, lambda: T0)
    yield store
    store.close()


@pytest.fixture
def observer(store: Store) -> CloudObserver:
    return CloudObserver(MemoryBackend(), store, lambda: T0)


def test_reader_waits_a_limited_time_for_a_reader_that_saves(
    observer: CloudObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving, finish = Event(), Event()

    def hang(_: MemoryBackend) -> list[VM]:
        saving.set()
        finish.wait()
        return []

    monkeypatch.setattr(MemoryBackend, "list_vms", hang)
    writer = Thread(target=observer.read_change_feed)
    writer.start()
    try:
        assert saving.wait(10)
        cannot_save = pytest.raises(StoreUnavailable, match="cannot be saved now")
        with answer_timeout(0.05), cannot_save:
            observer.read_change_feed()
    finally:
        finish.set()
        writer.join()
    assert observer.read_change_feed()


def test_reader_that_has_waited_for_a_failure_does_not_try_itself(
    observer: CloudObserver, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving, fail = Event(), Event()
    attempts: list[None] = []

    def fail_late() -> int:
        attempts.append(None)
        saving.set()
        assert fail.wait(WAIT_SECONDS)
        raise StoreUnavailable("vmapi's database does not answer.")

    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(store.inventory, "observation_time", fail_late)
        first = threads.submit(observer.read_change_feed)
        assert saving.wait(WAIT_SECONDS)
        lock = AnnouncingLock(observer._feed._lock)
        patch.setattr(observer._feed, "_lock", lock)
        second = threads.submit(observer.read_change_feed)
        assert lock.is_awaited.wait(WAIT_SECONDS)
        fail.set()
        assert isinstance(first.exception(WAIT_SECONDS), StoreUnavailable)
        assert isinstance(second.exception(WAIT_SECONDS), StoreUnavailable)
    assert len(attempts) == 1
    assert observer.read_change_feed()


def test_unsaved_change_is_read_again(
    observer: CloudObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions: list[int | None] = []

    def list_changes(_: MemoryBackend, position: int | None) -> ChangeSet:
        positions.append(position)
        return ChangeSet([VM_1], 7)

    monkeypatch.setattr(MemoryBackend, "list_changes_after", list_changes)
    monkeypatch.setattr(
        "vmapi.store.inventory.repository.InventoryRepository.save_observations",
        lambda *_: set(),
    )
    for _ in range(2):
        assert observer.read_change_feed()
    assert set(positions) == {None}


def test_first_read_deletes_the_vms_of_an_earlier_cloud(
    observer: CloudObserver, store: Store
) -> None:
    inventory = store.inventory
    inventory.save_observations([VM_1], inventory.observation_time())
    assert observer.read_change_feed()
    assert inventory.get(VM_1.id) is None
