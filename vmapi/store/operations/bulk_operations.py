"""Bulk operations in the database.

A bulk operation is admitted with all operations of its VMs in one transaction: after a crash, all
of them exist or none does. Its row never changes.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL, KEY_REUSED_DETAIL, IdempotencyKey
from vmapi.domain.access.project import Scope
from vmapi.domain.bulk import BulkOperation
from vmapi.domain.operation import Operation
from vmapi.errors import IdempotencyKeyReused, OperationNotFound, StoreUnavailable
from vmapi.store.conflicts import IdempotencyKeyConflict, VMsInProgress
from vmapi.store.database import Database
from vmapi.store.operations import bulk_admission, bulk_events, statements
from vmapi.store.operations.finish_metrics import record_finished
from vmapi.store.operations.leases import OperationLeases
from vmapi.store.tables import IS_UNFINISHED, bulk_operations, operations

MAX_BULK_INSERT_ATTEMPTS = 3
"""Inserts to attempt while every conflict is gone before its holder can be named."""

BULK_PURGE_BATCH = 100
"""Bulk operations that one transaction deletes; each row has the ids of its VMs."""


class BulkOperationRepository:
    """The bulk operations of one database. Any method may raise StoreUnavailable."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], leases: OperationLeases
    ) -> None:
        self._database = database
        self._clock = clock
        self._leases = leases

    def find_by_key(self, key: IdempotencyKey) -> BulkOperation | None:
        """Return the bulk operation of an unexpired idempotency key; None without one.

        The fingerprint is not compared. Raises IdempotencyKeyReused for the key of an operation
        that is no bulk operation.
        """
        expired_before = self._clock() - IDEMPOTENCY_KEY_TTL
        with self._database.snapshot() as connection:
            params = statements.key_params(key)
            row = connection.execute(statements.SELECT_BULK_BY_KEY, params).one()
            if row.id is not None and row.created_at > expired_before:
                return bulk_events.load(connection, row.id)
        if row.operation_created_at is not None and row.operation_created_at > expired_before:
            raise IdempotencyKeyReused(KEY_REUSED_DETAIL)
        return None

    def get(self, bulk_id: str, scope: Scope) -> BulkOperation:
        """Return a bulk operation of a project. Raises OperationNotFound."""
        bulk = None
        # PostgreSQL refuses a NUL in a text
        if "\0" not in bulk_id:
            with self._database.snapshot() as connection:
                bulk = bulk_events.load(connection, bulk_id)
        if bulk is None or scope not in (None, bulk.project):
            raise OperationNotFound(f"There is no operation {bulk_id}.")
        return bulk

    def is_finished(self, bulk_id: str) -> bool:
        """Return whether all operations of a bulk operation are finished."""
        with self._database.read() as connection:
            return bulk_events.is_finished(connection, bulk_id)

    def add(self, bulk: BulkOperation) -> None:
        """Admit a bulk operation with the operations of its VMs, all or none.

        This thread holds the leases of delegated operations until `OperationRepository.release`.
        The engine may begin the others at once. Raises IdempotencyKeyConflict, and VMsInProgress if
        VMs have another unfinished operation.
        """
        for _ in range(MAX_BULK_INSERT_ATTEMPTS):
            try:
                self._add(bulk)
            except IntegrityError:
                if conflict := self._conflict(bulk):
                    raise conflict from None
            else:
                return
        raise StoreUnavailable("Other changes of these VMs came first. Nothing was done.")

    def purge(self, until: datetime) -> int:
        """Delete a batch of the finished bulk operations before a time; return the number."""
        is_unfinished = select(operations.c.id).where(
            operations.c.bulk_id == bulk_operations.c.id, IS_UNFINISHED
        )
        batch = select(bulk_operations.c.id).where(
            bulk_operations.c.created_at < until, ~is_unfinished.exists()
        )
        with self._database.write() as connection:
            delete = bulk_operations.delete().where(
                bulk_operations.c.id.in_(batch.limit(BULK_PURGE_BATCH))
            )
            return connection.execute(delete).rowcount

    def _add(self, bulk: BulkOperation) -> None:
        delegated = [part.id for part in bulk.operations.values() if part.is_delegated]
        # before the rows are visible: the engine of this process lacks the token of the caller
        for operation_id in delegated:
            self._leases.local_locks.acquire(operation_id)
        owner = self._leases.owner_id() if delegated or self._leases.renews_idle else None
        try:
            with self._database.write() as connection:
                superseded = bulk_admission.admit(connection, bulk, owner)
        except BaseException:
            for operation_id in delegated:
                self._leases.local_locks.release(operation_id)
            raise
        record_finished(superseded)

    def _conflict(self, bulk: BulkOperation) -> IdempotencyKeyConflict | VMsInProgress | None:
        """Return the error of a refused insert; None if the holder has finished."""
        if bulk.key is not None and self.find_by_key(bulk.key) is not None:
            return IdempotencyKeyConflict()
        parts: Sequence[Operation] = list(bulk.operations.values())
        with self._database.read() as connection:
            busy = bulk_admission.find_conflicts(connection, bulk.action, parts)
        return VMsInProgress(busy) if busy else None
