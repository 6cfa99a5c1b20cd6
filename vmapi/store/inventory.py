"""The inventory: every VM as it was seen last, with what is under way laid over it.

Observations come from any process, in any order; a row keeps the newest. One that began after
another had been kept is newer, whatever the cloud's clocks say; of two that overlap, the one of
which the cloud says that it was changed later.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select
from sqlalchemy.exc import IntegrityError

from vmapi.models.page import Page, Paging, VMQuery
from vmapi.models.sighting import Listing, Sighting
from vmapi.models.vm import VM
from vmapi.store import overlay, vm_queries, vm_rows
from vmapi.store.database import Database, lock, now
from vmapi.store.tables import syncs, vms

SYNCED = select(func.max(syncs.c.begun)).scalar_subquery()
LIVE_ONE = select(vms, now().label("present"), SYNCED.label("synced")).where(
    vms.c.id == bindparam("id"), vms.c.deleted_at.is_(None)
)

CHUNK = 500
"""Rows that are read, or told to be unchanged, in one statement."""


class Inventory:
    """What is known of the VMs. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self) -> int:
        """Return the time on the clock that all share; taken before the cloud is asked."""
        with self._database.read() as connection:
            return _now(connection)

    def observe(self, seen: Sequence[VM], begun: int) -> None:
        """Keep what was seen by a look at the cloud that began then."""
        for start in range(0, len(seen), CHUNK):
            chunk = seen[start : start + CHUNK]
            try:
                self._observe(chunk, begun)
            except IntegrityError:
                # another process was first to see a new one, and now its row is there
                self._observe(chunk, begun)

    def gone(self, vm_id: str, at: datetime, begun: int) -> None:
        """Keep that the cloud knows a VM no more, as a look tells that began then."""
        with self._database.write() as connection:
            for row in _locked(connection, [vm_id]):
                seen = vm_rows.deleted(vm_rows.observed(row), at)
                if row.deleted_at is None and begun >= row.finished:
                    _change(connection, row, seen, begun)

    def unseen(self, begun: int) -> list[str]:
        """Return the VMs that no look has shown which began then or later."""
        query = select(vms.c.id).where(vms.c.deleted_at.is_(None), vms.c.begun < begun)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def get(self, vm_id: str) -> Sighting | None:
        """Return a VM that is not deleted, if it is known."""
        with self._database.read() as connection:
            row = connection.execute(LIVE_ONE, {"id": vm_id}).first()
        if row is None:
            return None
        age = _seconds(row.present - max(row.begun, row.synced or 0))
        return Sighting(vm_rows.vm(row), row.revision, age)

    def find(self, query: VMQuery, paging: Paging, deleted_after: datetime) -> Listing:
        """Return a page of the VMs that are asked for; of the deleted ones the later."""
        wanted = vm_queries.wanted(query, deleted_after)
        lines = select(vms).where(*wanted).order_by(*vm_queries.order(query.sort))
        lines = lines.limit(paging.page_size).offset((paging.page - 1) * paging.page_size)
        with self._database.snapshot() as connection:
            count = select(func.count()).select_from(vms).where(*wanted)
            total = connection.execute(count).scalar_one()
            found = [vm_rows.vm(row) for row in connection.execute(lines)]
            present, synced = connection.execute(select(now(), SYNCED)).one()
        age = _seconds(present - synced) if synced else None
        return Listing(Page(found, total, paging), age)

    def newest(self) -> datetime | None:
        """Return when a VM was changed last, on the cloud's clock; None for no VM."""
        with self._database.read() as connection:
            found: datetime | None = connection.execute(select(func.max(vms.c.updated_at))).scalar()
        return found

    def synced(self, begun: int) -> None:
        """Keep that all changes up to then are known."""
        self._note("changes", begun)

    def swept(self, begun: int) -> None:
        """Keep that everything is known as it was then."""
        self._note("everything", begun)

    def forget(self, before: datetime) -> int:
        """Forget VMs that were deleted before then; return how many."""
        old = vms.delete().where(vms.c.deleted_at < before)
        with self._database.write() as connection:
            return connection.execute(old).rowcount

    def _note(self, kind: str, begun: int) -> None:
        with self._database.write() as connection:
            noted = syncs.update().where(syncs.c.kind == kind).values(begun=begun)
            if not connection.execute(noted).rowcount:
                lock(connection, "syncs")
                known = select(syncs.c.kind).where(syncs.c.kind == kind)
                if connection.execute(known).first() is None:
                    connection.execute(syncs.insert().values(kind=kind, begun=begun))

    def _observe(self, seen: Sequence[VM], begun: int) -> None:
        with self._database.write() as connection:
            _keep(connection, seen, begun)


def _keep(connection: Connection, seen: Sequence[VM], begun: int) -> None:
    known = {row.id: row for row in _locked(connection, [vm.id for vm in seen])}
    finished, same = _now(connection), []
    for vm in seen:
        row = known.get(vm.id)
        if row is None:
            _add(connection, vm, begun, finished)
        elif _is_newer(row, vm, begun):
            if vm_rows.of_vm(vm)["observed"] == row.observed:
                same.append(vm.id)
            else:
                _change(connection, row, vm, begun)
    if same:
        unmoved = vms.c.id.in_(same) & (vms.c.begun < begun)
        seen_again = {"begun": begun, "finished": finished}
        connection.execute(vms.update().where(unmoved).values(seen_again))


def _is_newer(row: Row[Any], vm: VM, begun: int) -> bool:
    if begun < row.floor:
        return False
    return begun >= row.finished or (vm.updated_at, begun) > (row.updated_at, row.begun)


def _add(connection: Connection, vm: VM, begun: int, finished: int) -> None:
    status, task = overlay.of(connection, vm)
    moments = {"begun": begun, "finished": finished, "floor": 0}
    row = {**vm_rows.of_vm(vm), **moments, "status": status, "task": task, "revision": 1}
    connection.execute(vms.insert().values(row))


def _change(connection: Connection, row: Row[Any], vm: VM, begun: int) -> None:
    status, task = overlay.of(connection, vm)
    moments = {"begun": begun, "finished": now()}
    new = {**vm_rows.of_vm(vm), **moments, "status": status, "task": task}
    new["revision"] = row.revision + 1
    connection.execute(vms.update().where(vms.c.id == vm.id).values(new))


def _locked(connection: Connection, ids: Sequence[str]) -> Iterator[Row[Any]]:
    query = select(vms).where(vms.c.id.in_(ids)).order_by(vms.c.id).with_for_update()
    yield from connection.execute(query)


def _seconds(microseconds: int) -> float:
    return max(microseconds, 0) / 1_000_000


def _now(connection: Connection) -> int:
    return int(connection.execute(select(now())).scalar_one())
