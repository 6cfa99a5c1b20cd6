"""The instances of the in-memory cloud, with indexes and the order of their changes.

The cloud reports each change of an instance. Invariant: no method but `__iter__` and a first
`list_changes_after` visits more instances than it returns.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

from vmapi.backends.base import ChangeSet
from vmapi.backends.memory.instance import Instance
from vmapi.domain.lifecycle import Status
from vmapi.domain.quota import ResourceUsage
from vmapi.domain.vm import VM
from vmapi.errors import VMNotFound

DELETED_HISTORY = 1000
"""Deleted instances that a list of changes still has."""


class InstanceTable:
    """The live instances by id, name and operation, and the recently deleted ones."""

    def __init__(self) -> None:
        self.usage = ResourceUsage(0, 0, 0)
        self._live: dict[str, Instance] = {}
        self._ids_by_name: defaultdict[str, list[str]] = defaultdict(list)
        self._ids_by_operation: defaultdict[str, list[str]] = defaultdict(list)
        self._deleted: dict[str, VM] = {}
        #: the position of the newest change of each instance, in the order of these changes
        self._positions: dict[str, int] = {}
        self._newest_position = 0
        self._newest_forgotten_position = 0

    def __iter__(self) -> Iterator[Instance]:
        """Iterate over the live instances, oldest first."""
        return iter(self._live.values())

    def get(self, vm_id: str) -> Instance:
        """Return a live instance. Raises VMNotFound."""
        if vm_id not in self._live:
            raise VMNotFound(f"Instance {vm_id} could not be found.")
        return self._live[vm_id]

    def list_named(self, name: str) -> list[Instance]:
        """Return the live instances with a name, oldest first."""
        return [self._live[vm_id] for vm_id in self._ids_by_name.get(name, ())]

    def find_created_by(self, operation_id: str) -> Instance | None:
        """Return the first live instance that an operation has created, or None."""
        vm_ids = self._ids_by_operation.get(operation_id)
        return self._live[vm_ids[0]] if vm_ids else None

    def add(self, instance: Instance) -> None:
        """Add a new instance."""
        self._live[instance.id] = instance
        self._ids_by_name[instance.name].append(instance.id)
        self._ids_by_operation[instance.operation_id].append(instance.id)
        self._count(instance, 1)
        self.record_change(instance)

    def rename(self, instance: Instance, name: str) -> None:
        """Change the name of an instance."""
        _remove_id(self._ids_by_name, instance.name, instance.id)
        instance.name = name
        self._ids_by_name[name].append(instance.id)
        self.record_change(instance)

    def remove(self, instance: Instance, at: datetime) -> None:
        """Move an instance to the deleted ones; the oldest of these is forgotten."""
        del self._live[instance.id]
        _remove_id(self._ids_by_name, instance.name, instance.id)
        _remove_id(self._ids_by_operation, instance.operation_id, instance.id)
        self._count(instance, -1)
        vm = replace(instance.to_vm(), status=Status.DELETED, task=None, updated_at=at)
        self._deleted[instance.id] = vm
        self.record_change(instance)
        if len(self._deleted) > DELETED_HISTORY:
            oldest_id = next(iter(self._deleted))
            del self._deleted[oldest_id]
            self._newest_forgotten_position = self._positions.pop(oldest_id)

    def record_change(self, instance: Instance) -> None:
        """Record a change that `list_changes_after` reports."""
        self._newest_position += 1
        self._positions.pop(instance.id, None)
        self._positions[instance.id] = self._newest_position

    def list_changed_since(self, since: datetime) -> list[VM]:
        """Return the instances changed since a time, deleted ones too."""
        vms = map(self._get_vm, reversed(self._positions))
        return list(takewhile(lambda vm: vm.updated_at >= since, vms))

    def list_changes_after(self, position: int | None) -> ChangeSet:
        """Return the instances that changed after a position; all for None."""
        after = position or 0
        newer = takewhile(lambda item: item[1] > after, reversed(self._positions.items()))
        vms = [self._get_vm(vm_id) for vm_id, _ in newer]
        is_complete = position is not None and position >= self._newest_forgotten_position
        return ChangeSet(vms[::-1], self._newest_position, is_complete)

    def _get_vm(self, vm_id: str) -> VM:
        instance = self._live.get(vm_id)
        return instance.to_vm() if instance else self._deleted[vm_id]

    def _count(self, instance: Instance, number: int) -> None:
        used, flavor = self.usage, instance.flavor
        self.usage = ResourceUsage(
            used.vms + number,
            used.vcpus + number * flavor.vcpus,
            used.ram_mb + number * flavor.ram_mb,
        )


def _remove_id(index: defaultdict[str, list[str]], key: str, vm_id: str) -> None:
    index[key].remove(vm_id)
    if not index[key]:
        del index[key]
