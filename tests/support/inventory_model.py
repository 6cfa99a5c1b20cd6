"""A model of inventory queries in plain Python: filter and sort a list of VMs."""

from collections.abc import Iterable

from vmapi.domain.lifecycle import Status
from vmapi.domain.vm import VM, VMQuery


def filter_and_sort(query: VMQuery, vms: Iterable[VM]) -> list[VM]:
    """Return the VMs that match a query, sorted by its key and then by id."""
    descending, key = query.sort.startswith("-"), query.sort.removeprefix("-")
    matching_vms = [vm for vm in vms if matches(query, vm)]
    return sorted(matching_vms, key=lambda vm: (getattr(vm, key), vm.id), reverse=descending)


def matches(query: VMQuery, vm: VM) -> bool:
    """Return whether a VM matches a query; a deleted VM matches by status only."""
    statuses = query.statuses or set(Status) - {Status.DELETED}
    return (
        vm.status in statuses
        and (query.name is None or _matches_name(vm.name, query.name))
        and query.flavor in (None, vm.flavor)
        and query.image in (None, vm.image)
        and (query.selector is None or query.selector.matches(vm.metadata))
        and (query.created_after is None or vm.created_at > query.created_after)
        and (query.created_before is None or vm.created_at < query.created_before)
        and (query.updated_after is None or vm.updated_at > query.updated_after)
    )


def _matches_name(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
