"""Who carries an operation on: one process at a time, and in it one thread."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import ColumnElement, bindparam, or_

from vmapi.errors import StoreUnavailable
from vmapi.store.database import Database, now
from vmapi.store.tables import IS_UNFINISHED, operations

log = structlog.get_logger("vmapi.store")

LEASE = 10_000_000
"""Microseconds after which a process that was not heard of has lost its operations."""

BEAT = 2.5
"""Seconds between two signs of life: a process that lives keeps its operations."""


FREE = or_(operations.c.lease_owner == bindparam("owner"), operations.c.lease_until < now())
"""The condition that a process, the `owner`, has or may have an operation's lease."""

RENEW = (
    operations.update()
    .where(operations.c.id == bindparam("of"), FREE)
    .values(lease_owner=bindparam("owner"), lease_until=now() + LEASE)
)


class Held:
    """The operations that threads of this process hold at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()

    def take(self, operation_id: str) -> bool:
        """Hold an operation; False when another thread does."""
        with self._lock:
            if operation_id in self._ids:
                return False
            self._ids.add(operation_id)
            return True

    def give(self, operation_id: str) -> None:
        """Hold it no longer."""
        with self._lock:
            self._ids.discard(operation_id)

    def ids(self) -> list[str]:
        """Return what is held."""
        with self._lock:
            return list(self._ids)


class Leases:
    """The leases of this process: on the database's clock, which all processes share.

    `keeps` says whether a lease is kept from one look to the next: whether this process carries on
    what it has taken on. A process that is slow and loses one does no harm: revisions tell it, and
    nothing is sent twice. So leases are written in haste.
    """

    def __init__(self, database: Database, *, keeps: bool) -> None:
        self.held = Held()
        self.keeps = keeps
        self._database = database
        self.owner = str(uuid.uuid4())
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._heart: threading.Thread | None = None

    def take(self) -> str:
        """Return whose the lease is of an operation that this process takes on."""
        with self._lock:
            if self._heart is None and not self._closing.is_set():
                heart = threading.Thread(target=self._beat, name="leases", daemon=True)
                heart.start()
                self._heart = heart
        return self.owner

    @contextmanager
    def use(self, operation_id: str, *, fresh: bool) -> Iterator[bool]:
        """Hold an operation, or learn that another thread or process does."""
        if not fresh and not self.held.take(operation_id):
            yield False
            return
        try:
            mine = fresh or self._renew(operation_id)
            try:
                yield mine
            finally:
                if mine and not self.keeps:
                    self._leave(operation_id)
        finally:
            self.held.give(operation_id)

    def close(self) -> None:
        """Leave what is unfinished to others."""
        self._closing.set()
        if self._heart is not None:
            self._heart.join()
            self._give_back(IS_UNFINISHED)

    def _leave(self, operation_id: str) -> None:
        try:
            self._give_back(operations.c.id == operation_id)
        except StoreUnavailable as away:
            # what was done under it is done all the same
            log.warning("a lease is left to run out", reason=away.detail)

    def _give_back(self, which: ColumnElement[bool]) -> None:
        mine = which & IS_UNFINISHED & (operations.c.lease_owner == self.owner)
        with self._database.write(hasty=True) as connection:
            given = operations.update().where(mine).values(lease_owner=None, lease_until=0)
            connection.execute(given)

    def _renew(self, operation_id: str) -> bool:
        with self._database.write(hasty=True) as connection:
            taken = connection.execute(RENEW, {"of": operation_id, "owner": self.take()})
        return taken.rowcount == 1

    def _beat(self) -> None:
        while not self._closing.wait(BEAT):
            mine = IS_UNFINISHED & (operations.c.lease_owner == self.owner)
            if not self.keeps:
                # what nobody here will carry on is left to run out
                mine &= operations.c.id.in_(self.held.ids())
            try:
                with self._database.write(hasty=True) as connection:
                    longer = operations.update().where(mine).values(lease_until=now() + LEASE)
                    connection.execute(longer)
            except StoreUnavailable as away:
                log.warning("leases cannot be renewed", reason=away.detail)
            except Exception:
                log.exception("leases could not be renewed")
