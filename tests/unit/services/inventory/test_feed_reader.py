"""Reads of the change feed: bounded while another reader saves, and never behind."""

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from tests.support.factories import T0, VM_1
from vmapi.backends.base import ChangeSet
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout
from vmapi.services.inventory import change_feed
from vmapi.services.inventory.observer import CloudObserver
from vmapi.store.store import Store


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
    monkeypatch.setattr(change_feed, "FEED_TIMEOUT", 0.05)
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
        with pytest.raises(BackendTimeout, match="still being saved"):
            observer.read_change_feed()
    finally:
        finish.set()
        writer.join()
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
