"""Operation leases: one thread of one process at a time reconciles an operation.

A lease is two columns of the operation's row, on the database's clock. The process that inserts an
operation holds its lease from the start. The heartbeat renews leases; one that expires is free. So
is one that ends later than a new lease would: a wrong clock has written it.

Leases are written with `durable=False`, since a lost lease does no harm. A process that loses one
without noticing fails at its next save: the revision of the row has moved. No step is dispatched
twice, since a step is saved as `dispatching` before the call. So a lease that this process has read
in the row needs no second write before its end comes near.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Row, bindparam, or_

from vmapi.errors import StoreUnavailable
from vmapi.store.clock import db_now, sql_is_expired
from vmapi.store.database import Database
from vmapi.store.lease_heartbeat import LeaseHeartbeat
from vmapi.store.tables import IS_UNFINISHED, operations

log = structlog.get_logger("vmapi.store")

LEASE_DURATION_US = 10_000_000
"""Microseconds until a lease expires that its owner does not renew."""

MIN_LEASE_REST_US = LEASE_DURATION_US // 2
"""Microseconds that must be left of a lease for its use without a renewal."""

LEASE_IS_EXPIRED = sql_is_expired(operations.c.lease_expires_at, LEASE_DURATION_US)
LEASE_IS_FREE = or_(operations.c.lease_owner == bindparam("owner"), LEASE_IS_EXPIRED)
"""True where the process `owner` holds the lease or may acquire it."""

ACQUIRE_LEASE = (
    operations.update()
    .where(operations.c.id == bindparam("of"), LEASE_IS_FREE)
    .values(lease_owner=bindparam("owner"), lease_expires_at=db_now() + LEASE_DURATION_US)
)


class LocalLocks:
    """Locks between the threads of this process, by operation id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()

    def acquire(self, operation_id: str) -> bool:
        """Lock an operation; return False while another thread has it."""
        with self._lock:
            if operation_id in self._ids:
                return False
            self._ids.add(operation_id)
            return True

    def release(self, operation_id: str) -> None:
        """Unlock an operation; without effect on an unlocked one."""
        with self._lock:
            self._ids.discard(operation_id)

    def ids(self) -> list[str]:
        """Return the ids of the locked operations."""
        with self._lock:
            return list(self._ids)


class OperationLeases:
    """The operation leases of this process.

    With `renews_idle` the process keeps its leases between two passes of the reconciler: an engine
    in this process reconciles the operations that it inserts. Without it, a lease lasts only while
    a thread uses it, and any worker may continue.
    """

    def __init__(
        self, database: Database, *, renews_idle: bool, heartbeat: LeaseHeartbeat | None = None
    ) -> None:
        self.local_locks = LocalLocks()
        self.renews_idle = renews_idle
        self.owner = str(uuid.uuid4())
        self._database = database
        self._heartbeat = heartbeat or LeaseHeartbeat()
        self._heartbeat.register(self._renew)
        self._has_acquired = False
        #: the monotonic time until which a lease can be used without a renewal, by operation id
        self._usable_until: Mapping[str, float] = {}

    def owner_id(self) -> str:
        """Start the heartbeat and return the owner id for a lease that this process takes."""
        if not self._has_acquired:
            self._heartbeat.start()
            self._has_acquired = True
        return self.owner

    def record(self, rows: Iterable[Row[Any]], read_at: float) -> None:
        """Record the leases of this process in rows of operations that have the time `now`.

        `read_at`: the monotonic time before the read, in seconds.
        """
        rests = {
            row.id: row.lease_expires_at - row.now
            for row in rows
            if self.renews_idle and row.lease_owner == self.owner
        }
        self._usable_until = {
            operation_id: read_at + (rest - MIN_LEASE_REST_US) / 1_000_000
            for operation_id, rest in rests.items()
            # a lease that ends later than a new one is from a wrong clock
            if rest <= LEASE_DURATION_US
        }

    @contextmanager
    def acquire(self, operation_id: str) -> Iterator[bool]:
        """Acquire the lease of an operation until the block ends.

        Yields whether the lease was acquired: False while another worker holds it.

        Raises StoreUnavailable.
        """
        if not self.local_locks.acquire(operation_id):
            yield False
            return
        acquired = False
        try:
            acquired = self._is_usable(operation_id) or self._try_acquire(operation_id)
            yield acquired
        finally:
            if acquired:
                self.release(operation_id)
            else:
                self.local_locks.release(operation_id)

    def release(self, operation_id: str) -> None:
        """End the use of a lease by this thread; with an engine, the process keeps it."""
        try:
            if not self.renews_idle:
                self._release_or_expire(operation_id)
        finally:
            self.local_locks.release(operation_id)

    def close(self) -> None:
        """Stop the heartbeat and release the leases. Raises StoreUnavailable."""
        self._heartbeat.close()
        self._usable_until = {}
        if self._has_acquired:
            self._release(IS_UNFINISHED)

    def _release_or_expire(self, operation_id: str) -> None:
        try:
            self._release(operations.c.id == operation_id)
        except StoreUnavailable as error:
            # the work under the lease is saved all the same
            log.warning("lease not released, will expire", reason=error.detail)

    def _release(self, condition: ColumnElement[bool]) -> None:
        is_owned = condition & IS_UNFINISHED & (operations.c.lease_owner == self.owner)
        with self._database.write(durable=False) as connection:
            connection.execute(
                operations.update().where(is_owned).values(lease_owner=None, lease_expires_at=0)
            )

    def _is_usable(self, operation_id: str) -> bool:
        return time.monotonic() < self._usable_until.get(operation_id, -inf)

    def _try_acquire(self, operation_id: str) -> bool:
        with self._database.write(durable=False) as connection:
            params = {"of": operation_id, "owner": self.owner_id()}
            return connection.execute(ACQUIRE_LEASE, params).rowcount == 1

    def _renew(self) -> None:
        if not self._has_acquired:
            return
        is_renewed = IS_UNFINISHED & (operations.c.lease_owner == self.owner)
        if not self.renews_idle:
            # other leases are left to expire: no thread of this process continues them
            is_renewed &= operations.c.id.in_(self.local_locks.ids())
        expires_at = db_now() + LEASE_DURATION_US
        with self._database.write(durable=False) as connection:
            connection.execute(
                operations.update().where(is_renewed).values(lease_expires_at=expires_at)
            )
