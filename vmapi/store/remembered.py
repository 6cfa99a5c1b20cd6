"""VMs that were read a moment ago, so that a list need not read again what has not changed."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Connection, Row, bindparam, select, type_coerce
from sqlalchemy.types import BigInteger

from vmapi.models.vm import VM
from vmapi.store import vm_rows
from vmapi.store.tables import vms

SIZE = 5000
"""VMs that are remembered, of about three kilobytes each."""

MARKS = (
    vms.c.id,
    vms.c.revision,
    type_coerce(vms.c.updated_at, BigInteger).label("moved"),
)
"""By these it is told whether a VM is shown as it was: a row that is made anew counts from 1."""

OF_IDS = select(vms).where(vms.c.id.in_(bindparam("ids", expanding=True)))

NONE = (0, 0, None)


class Remembered:
    """The VMs of one process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._vms: LRUCache[str, tuple[int, int, VM]] = LRUCache(SIZE)
        self._lock = Lock()

    def read(self, connection: Connection, marks: Sequence[Row[Any]]) -> list[VM]:
        """Return the VMs of these rows, which have at least `MARKS`, in their order."""
        with self._lock:
            known = {row.id: found for row in marks if (found := self._known(row))}
        missing = [row.id for row in marks if row.id not in known]
        if missing:
            rows = connection.execute(OF_IDS, {"ids": missing}).all()
            read = {row.id: vm_rows.vm(row) for row in rows}
            known |= read
            for row in marks:
                if row.id in read:
                    self.keep(row, read[row.id])
        return [known[row.id] for row in marks]

    def get(self, marks: Row[Any]) -> VM | None:
        """Return the VM of a row that has at least `MARKS`, if it is remembered."""
        with self._lock:
            return self._known(marks)

    def keep(self, marks: Row[Any], vm: VM) -> None:
        """Remember the VM of a row that has at least `MARKS`."""
        with self._lock:
            self._vms[marks.id] = (marks.revision, marks.moved, vm)

    def _known(self, row: Row[Any]) -> VM | None:
        revision, moved, vm = self._vms.get(row.id, NONE)
        return vm if (revision, moved) == (row.revision, row.moved) else None
