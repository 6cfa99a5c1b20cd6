"""Locks of VMs: one transaction at a time admits an operation of a VM.

SQLite needs none: it has one writer at a time. PostgreSQL has room for a few thousand locks, so the
VMs share `VM_LOCK_COUNT` of them. A transaction takes its locks in ascending order: two of them
never wait for each other here.
"""

from collections.abc import Iterable
from zlib import crc32

from sqlalchemy import ARRAY, Connection, Integer, bindparam, func, select

VM_LOCK_COUNT = 1024
VM_LOCK_SPACE = 1
"""The first key of these locks. `advisory_lock` takes locks with one key, which differ from all."""

LOCK_NUMBERS = func.unnest(bindparam("numbers", type_=ARRAY(Integer))).column_valued("number")
LOCK_VMS = select(func.pg_advisory_xact_lock(VM_LOCK_SPACE, LOCK_NUMBERS))


def lock_vms(connection: Connection, vm_ids: Iterable[str]) -> None:
    """Hold the locks of VMs until the transaction ends."""
    if connection.dialect.name == "postgresql":
        numbers = sorted({crc32(vm_id.encode()) % VM_LOCK_COUNT for vm_id in vm_ids})
        connection.execute(LOCK_VMS, {"numbers": numbers})
