"""What the inventory is to answer, in plain Python over a list of VMs."""

from collections.abc import Iterable

from vmapi.domain.lifecycle import Status
from vmapi.domain.vm import VM, VMQuery


def filter_and_sort(query: VMQuery, vms: Iterable[VM]) -> list[VM]:
    """Return the VMs that are asked for, in order; equal ones are ordered by their id."""
    descending, key = query.sort.startswith("-"), query.sort.removeprefix("-")
    found = [vm for vm in vms if matches(query, vm)]
    return sorted(found, key=lambda vm: (getattr(vm, key), vm.id), reverse=descending)


def matches(query: VMQuery, vm: VM) -> bool:
    """Tell whether a VM is asked for; a deleted one only by its status."""
    statuses = query.statuses or set(Status) - {Status.DELETED}
    return (
        vm.status in statuses
        and (query.name is None or _named(vm.name, query.name))
        and query.flavor in (None, vm.flavor)
        and query.image in (None, vm.image)
        and (query.created_after is None or vm.created_at > query.created_after)
        and (query.created_before is None or vm.created_at < query.created_before)
        and (query.updated_after is None or vm.updated_at > query.updated_after)
    )


def _named(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted
