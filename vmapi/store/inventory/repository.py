"""The inventory: every VM as it was seen last, with what is under way laid over it.

Observations come from any process, in any order; `observation` tells which is the newest.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from vmapi.domain.pagination import Page, Paging, VMQuery
from vmapi.domain.project import Scope
from vmapi.domain.quota import Amounts
from vmapi.domain.snapshot import Listing, Sighting
from vmapi.domain.vm import VM
from vmapi.store import quotas as quota
from vmapi.store.database import Database, lock, now, present
from vmapi.store.inventory import duplicates as doubles
from vmapi.store.inventory import observations as observation
from vmapi.store.inventory import statements as vm_queries
from vmapi.store.inventory.age import SEEN, SYNCED, age, seconds
from vmapi.store.inventory.cache import MARKS, Remembered
from vmapi.store.inventory.duplicates import Double
from vmapi.store.tables import syncs, vms

ONE: Select[Any] = select(*SEEN, *MARKS[2:])
LIVE_ONE = ONE.where(vms.c.id == bindparam("id"), vms.c.deleted_at.is_(None))
OF_NAME = (
    select(vms.c.id)
    .where(
        vms.c.project == bindparam("of"),
        vms.c.name == bindparam("called"),
        vms.c.deleted_at.is_(None),
    )
    .limit(1)
)
NAMED = select(
    now().label("present"), SYNCED.label("synced"), OF_NAME.scalar_subquery().label("holder")
)

CHUNK = 200
"""VMs that are kept in one transaction."""

BREATH = 0.02
"""Seconds between two of those: SQLite lets others write only while nobody does."""


class Inventory:
    """What is known of the VMs. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered = Remembered()

    def begin(self) -> int:
        """Return the time on the clock that all share; taken before the cloud is asked."""
        with self._database.read() as connection:
            return present(connection)

    def observe(self, seen: Sequence[VM], begun: int) -> set[str]:
        """Keep what was seen by a look at the cloud that began then.

        Return the ids of those that are kept so now: the others were known better.
        """
        # in one order for all, so that no two wait for each other; a list may tell of one twice
        found = {vm.id: vm for vm in seen}
        ordered = [found[vm_id] for vm_id in sorted(found)]
        kept: set[str] = set()
        for start in range(0, len(ordered), CHUNK):
            chunk = ordered[start : start + CHUNK]
            if start:
                time.sleep(BREATH)
            kept |= self._observe(chunk, begun)
        return kept

    def gone(self, vm_id: str, at: datetime, told: int) -> None:
        """Keep that the cloud knows a VM no more, as it had told by then."""
        with self._database.write() as connection:
            observation.end(connection, vm_id, at, told)

    def unseen(self, begun: int) -> list[str]:
        """Return the VMs that no look has shown which began then or later."""
        query = select(vms.c.id).where(vms.c.deleted_at.is_(None), vms.c.begun < begun)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def get(self, vm_id: str, scope: Scope = None) -> Sighting | None:
        """Return a VM that is not deleted, if it is known to be of this project."""
        with self._database.read() as connection:
            row = connection.execute(LIVE_ONE, {"id": vm_id}).first()
        if row is None or scope not in (None, row.project):
            return None
        return Sighting(self._remembered.get(row), row.revision, age(row))

    def find(
        self, query: VMQuery, paging: Paging, deleted_after: datetime, scope: Scope = None
    ) -> Listing:
        """Return a page of a project's VMs that are asked for; of the deleted ones the later."""
        wanted = vm_queries.wanted(query, deleted_after, scope)
        with self._database.snapshot() as connection:
            count = select(func.count()).select_from(vms).where(*wanted)
            total = paging.after.total if paging.after else connection.execute(count).scalar_one()
            rows = connection.execute(vm_queries.page(query.sort, wanted, paging)).all()
            clock, synced = connection.execute(select(now(), SYNCED)).one()
            shown = rows[: paging.page_size]
            found = self._remembered.read(connection, shown)
        age = seconds(clock - synced) if synced else None
        end = vm_queries.end(query.sort, shown[-1], total) if len(rows) > len(shown) else None
        return Listing(Page(found, total, paging, end), age)

    def named(self, project: str, name: str) -> tuple[str | None, float | None]:
        """Return which live VM of a project has a name, and the `age` of that."""
        with self._database.read() as connection:
            row = connection.execute(NAMED, {"of": project, "called": name}).one()
        return row.holder, seconds(row.present - row.synced) if row.synced else None

    def used(self, project: str) -> Amounts:
        """Return how much a project has of what quotas limit."""
        with self._database.read() as connection:
            return quota.used(connection, project)

    def age(self) -> float | None:
        """Return how many seconds ago all changes were known; None where nobody ever looked."""
        with self._database.read() as connection:
            clock, synced = connection.execute(select(now(), SYNCED)).one()
        return seconds(clock - synced) if synced else None

    def doubles(self) -> list[Double]:
        """Return the VMs that were made beside the one of their create, or after it had failed.

        What a create has made that timed out meanwhile is that create's from now on.
        """
        with self._database.write() as connection:
            doubles.adopt(connection)
            return doubles.found(connection)

    def made_by(self, operation_id: str) -> str | None:
        """Return a VM that a create has made, deleted or not, if one was seen."""
        query = select(vms.c.id).where(vms.c.operation_id == operation_id).limit(1)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

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

    def since_sweep(self) -> float | None:
        """Return how many seconds ago the last look at everything began; None before the first."""
        query = select(now() - syncs.c.begun).where(syncs.c.kind == "everything")
        with self._database.read() as connection:
            passed = connection.execute(query).scalar()
        return None if passed is None else seconds(passed)

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

    def _observe(self, seen: Sequence[VM], begun: int) -> set[str]:
        kept: set[str] = set()
        while seen:
            with self._database.write() as connection:
                found, seen = observation.keep(connection, seen, begun)
            kept |= found
        return kept
