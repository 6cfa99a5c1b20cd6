"""Object cache tests: one computation per object, dropped with the object."""

import gc
from dataclasses import replace

from tests.support.factories import VM_1
from vmapi.domain.object_cache import ObjectCache
from vmapi.domain.vm import VM


def test_value_is_computed_once_per_object() -> None:
    computed: list[str] = []

    def compute(vm: VM) -> str:
        computed.append(vm.id)
        return vm.name

    cache = ObjectCache(compute)
    first, equal = replace(VM_1), replace(VM_1)
    assert cache.get(first) == cache.get(first) == VM_1.name
    assert computed == [VM_1.id]
    # by identity: an equal object is another one
    assert cache.get(equal) == VM_1.name
    assert computed == [VM_1.id, VM_1.id]


def test_value_is_dropped_with_its_object() -> None:
    cache = ObjectCache(lambda vm: vm.name)
    vm = replace(VM_1)
    cache.get(vm)
    assert len(cache) == 1
    del vm
    gc.collect()
    assert len(cache) == 0
