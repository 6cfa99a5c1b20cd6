"""An index of many VMs, and whether it can show a list at once."""

import json
from collections.abc import Sequence
from functools import cache
from random import Random

from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VMQuery
from vmapi.store.inventory.vm_index import VMIndex
from vmapi.store.inventory.vm_view import IndexedVM

LIVE_STATUSES = sorted(set(Status) - {Status.DELETED})


def build_large_index(size: int) -> VMIndex:
    """Return an index in which names and times are in different orders."""
    return VMIndex(_build_vms(size))


@cache
def _build_vms(size: int) -> Sequence[IndexedVM]:
    random = Random(1)
    names, updated_at = (random.sample(range(size), size) for _ in range(2))

    def build(number: int) -> IndexedVM:
        group = number % 4
        texts = (f"web-{names[number]:06}", f"f{group}", f"i{group}", LIVE_STATUSES[group].value)
        times = number, updated_at[number]
        pairs = json.dumps({"group": f"{group}", "owner": f"{number // 10}"})
        return IndexedVM(f"{number:036}", *texts, f"p{number % 2}", pairs, *times, 1)

    return [*map(build, range(size))]


def can_read(index: VMIndex, query: VMQuery, scope: str | None = None) -> bool:
    """Return whether the views of a list exist."""
    request = RepeatableRequest()
    try:
        request.serve_without_waiting(lambda: index.find(query, PageRequest(), scope))
    except WouldBlock:
        return False
    return True
