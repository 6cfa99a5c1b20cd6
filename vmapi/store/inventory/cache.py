"""Cache of decoded VM rows: a list decodes only the rows that have changed."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Connection, Row, bindparam, select, type_coerce
from sqlalchemy.types import BigInteger

from vmapi.domain.vm import VM
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import vms

VM_CACHE_SIZE = 5000
"""VMs in the cache, of about three kilobytes each."""

VERSION_COLUMNS = (
    vms.c.id,
    vms.c.revision,
    type_coerce(vms.c.updated_at, BigInteger).label("updated_us"),
)
"""The version of a row. The revision alone is not enough: it restarts when a row is reinserted."""

SELECT_VMS_BY_IDS = select(vms).where(vms.c.id.in_(bindparam("ids", expanding=True)))

NOT_CACHED = (0, 0, None)


class VMCache:
    """The decoded VMs of one process. Safe to use from several threads.

    An unchanged row yields the same VM object each time: other caches key on the object.
    """

    def __init__(self) -> None:
        self._vms: LRUCache[str, tuple[int, int, VM]] = LRUCache(VM_CACHE_SIZE)
        self._lock = Lock()

    def read(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[VM]:
        """Return the VMs of rows of `VERSION_COLUMNS`; read the changed ones."""
        with self._lock:
            cached = {row.id: vm for row in rows if (vm := self._lookup(row))}
        missing = [row.id for row in rows if row.id not in cached]
        if missing:
            full_rows = connection.execute(SELECT_VMS_BY_IDS, {"ids": missing}).all()
            decoded = {row.id: vm_mapper.from_row(row) for row in full_rows}
            cached |= decoded
            with self._lock:
                for row in rows:
                    if row.id in decoded:
                        self._vms[row.id] = (row.revision, row.updated_us, decoded[row.id])
        return [cached[row.id] for row in rows]

    def get(self, row: Row[Any]) -> VM:
        """Return the VM of a full row: the cached object if it is equal."""
        vm = vm_mapper.from_row(row)
        with self._lock:
            cached = self._vms.get(row.id, NOT_CACHED)[2]
            vm = cached if cached == vm else vm
            self._vms[row.id] = (row.revision, row.updated_us, vm)
        return vm

    def _lookup(self, row: Row[Any]) -> VM | None:
        revision, updated_us, vm = self._vms.get(row.id, NOT_CACHED)
        return vm if (revision, updated_us) == (row.revision, row.updated_us) else None
