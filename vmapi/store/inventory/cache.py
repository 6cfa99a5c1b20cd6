"""VMs that were read a moment ago, so that a list need not read again what has not changed."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Connection, Row, bindparam, select, type_coerce
from sqlalchemy.types import BigInteger

from vmapi.domain.vm import VM
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.tables import vms

VM_CACHE_SIZE = 5000
"""VMs that are remembered, of about three kilobytes each."""

VERSION_COLUMNS = (
    vms.c.id,
    vms.c.revision,
    type_coerce(vms.c.updated_at, BigInteger).label("moved"),
)
"""By these it is told whether a VM is shown as it was: a row that is made anew counts from 1."""

SELECT_VMS_BY_IDS = select(vms).where(vms.c.id.in_(bindparam("ids", expanding=True)))

NOT_CACHED = (0, 0, None)


class VMCache:
    """The VMs of one process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._vms: LRUCache[str, tuple[int, int, VM]] = LRUCache(VM_CACHE_SIZE)
        self._lock = Lock()

    def read(self, connection: Connection, marks: Sequence[Row[Any]]) -> list[VM]:
        """Return the VMs of these rows, which have at least `MARKS`, in their order."""
        with self._lock:
            known = {row.id: found for row in marks if (found := self._lookup(row))}
        missing = [row.id for row in marks if row.id not in known]
        if missing:
            rows = connection.execute(SELECT_VMS_BY_IDS, {"ids": missing}).all()
            read = {row.id: vm_rows.from_row(row) for row in rows}
            known |= read
            with self._lock:
                for row in marks:
                    if row.id in read:
                        self._vms[row.id] = (row.revision, row.moved, read[row.id])
        return [known[row.id] for row in marks]

    def get(self, row: Row[Any]) -> VM:
        """Return the VM of a whole row that has `MARKS` too: with the forms that it has already."""
        vm = vm_rows.from_row(row)
        with self._lock:
            known = self._vms.get(row.id, NOT_CACHED)[2]
            vm = known if known == vm else vm
            self._vms[row.id] = (row.revision, row.moved, vm)
        return vm

    def _lookup(self, row: Row[Any]) -> VM | None:
        revision, moved, vm = self._vms.get(row.id, NOT_CACHED)
        return vm if (revision, moved) == (row.revision, row.moved) else None
