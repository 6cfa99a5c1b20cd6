"""Who carries an operation on: one process at a time, and in it one thread."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import ColumnElement, bindparam, or_

from vmapi.errors import StoreUnavailable
from vmapi.store.database import Database, db_now
from vmapi.store.tables import IS_UNFINISHED, operations

log = structlog.get_logger("vmapi.store")

LEASE_DURATION_US = 10_000_000
"""Microseconds after which a process that was not heard of has lost its operations."""

HEARTBEAT_INTERVAL = 2.5
"""Seconds between two signs of life: a process that lives keeps its operations."""


LEASE_IS_FREE = or_(
    operations.c.lease_owner == bindparam("owner"), operations.c.lease_expires_at < db_now()
)
"""The condition that a process, the `owner`, has or may have an operation's lease."""

RENEW_LEASE = (
    operations.update()
    .where(operations.c.id == bindparam("of"), LEASE_IS_FREE)
    .values(lease_owner=bindparam("owner"), lease_expires_at=db_now() + LEASE_DURATION_US)
)


class LocalLocks:
    """The operations that threads of this process hold at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()

    def acquire(self, operation_id: str) -> bool:
        """Hold an operation; False when another thread does."""
        with self._lock:
            if operation_id in self._ids:
                return False
            self._ids.add(operation_id)
            return True

    def release(self, operation_id: str) -> None:
        """Hold it no longer."""
        with self._lock:
            self._ids.discard(operation_id)

    def ids(self) -> list[str]:
        """Return what is held."""
        with self._lock:
            return list(self._ids)


class OperationLeases:
    """The leases of this process: on the database's clock, which all processes share.

    `keeps` says whether a lease is kept from one look to the next: whether this process carries on
    what it has taken on. A process that is slow and loses one does no harm: revisions tell it, and
    nothing is sent twice. So leases are written in haste.
    """

    def __init__(self, database: Database, *, renews_idle: bool) -> None:
        self.local_locks = LocalLocks()
        self.renews_idle = renews_idle
        self._database = database
        self.owner = str(uuid.uuid4())
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._heartbeat_thread: threading.Thread | None = None

    def owner_id(self) -> str:
        """Return whose the lease is of an operation that this process takes on."""
        with self._lock:
            if self._heartbeat_thread is None and not self._closing.is_set():
                heart = threading.Thread(target=self._heartbeat, name="leases", daemon=True)
                heart.start()
                self._heartbeat_thread = heart
        return self.owner

    @contextmanager
    def acquire(self, operation_id: str, *, lease_held: bool) -> Iterator[bool]:
        """Hold an operation, or learn that another thread or process does."""
        if not lease_held and not self.local_locks.acquire(operation_id):
            yield False
            return
        try:
            mine = lease_held or self._try_acquire(operation_id)
            try:
                yield mine
            finally:
                if mine and not self.renews_idle:
                    self._release_or_expire(operation_id)
        finally:
            self.local_locks.release(operation_id)

    def close(self) -> None:
        """Leave what is unfinished to others."""
        self._closing.set()
        if self._heartbeat_thread is not None:
            self._heartbeat_thread.join()
            self._release(IS_UNFINISHED)

    def _release_or_expire(self, operation_id: str) -> None:
        try:
            self._release(operations.c.id == operation_id)
        except StoreUnavailable as away:
            # what was done under it is done all the same
            log.warning("a lease is left to run out", reason=away.detail)

    def _release(self, which: ColumnElement[bool]) -> None:
        mine = which & IS_UNFINISHED & (operations.c.lease_owner == self.owner)
        with self._database.write(hasty=True) as connection:
            given = operations.update().where(mine).values(lease_owner=None, lease_expires_at=0)
            connection.execute(given)

    def _try_acquire(self, operation_id: str) -> bool:
        with self._database.write(hasty=True) as connection:
            taken = connection.execute(RENEW_LEASE, {"of": operation_id, "owner": self.owner_id()})
        return taken.rowcount == 1

    def _heartbeat(self) -> None:
        while not self._closing.wait(HEARTBEAT_INTERVAL):
            mine = IS_UNFINISHED & (operations.c.lease_owner == self.owner)
            if not self.renews_idle:
                # what nobody here will carry on is left to run out
                mine &= operations.c.id.in_(self.local_locks.ids())
            try:
                with self._database.write(hasty=True) as connection:
                    longer = (
                        operations.update()
                        .where(mine)
                        .values(lease_expires_at=db_now() + LEASE_DURATION_US)
                    )
                    connection.execute(longer)
            except StoreUnavailable as away:
                log.warning("leases cannot be renewed", reason=away.detail)
            except Exception:
                log.exception("leases could not be renewed")
