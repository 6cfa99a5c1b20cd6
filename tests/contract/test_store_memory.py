"""The store in memory."""

import pytest

from tests.contract.clock import Clock
from tests.contract.store_suite import ANYTHING, Maker, StoreSuite
from vmapi.errors import OperationNotFound
from vmapi.models.page import Paging
from vmapi.store.memory import MemoryOperations
from vmapi.store.operations import OperationStore


class TestMemoryOperations(StoreSuite):
    @pytest.fixture
    def store(self, clock: Clock) -> OperationStore:
        return MemoryOperations(clock)


def test_finished_ones_are_forgotten_the_oldest_first() -> None:
    clock = Clock()
    store, make = MemoryOperations(clock, kept=3), Maker(clock)
    store.add(make("under way"))
    for number in range(5):
        store.add(make(str(number), vm_id=str(number)))
        store.save(make.over(store.get(str(number))))
    kept = {found.id for found in store.find(ANYTHING, Paging()).items}
    assert kept == {"under way", "2", "3", "4"}
    with pytest.raises(OperationNotFound):
        store.get("1")
