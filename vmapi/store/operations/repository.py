"""Operations in the database: shared by all processes, safe when any of them dies.

Services insert, save and list operations here; the inventory, name reservations, quota and audit
trail change in the same transactions. `transitions` states the protocol of admission.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL, KEY_REUSED_DETAIL, IdempotencyKey
from vmapi.domain.access.project import Scope
from vmapi.domain.audit import AuditEntry
from vmapi.domain.observation import Observation
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.quota import NO_QUOTAS, QuotaConfig
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.errors import (
    IdempotencyKeyReused,
    NameTaken,
    OperationNotFound,
    TaskInProgress,
    VmapiError,
)
from vmapi.store.clock import db_now
from vmapi.store.conflicts import (
    IdempotencyKeyConflict,
    name_taken,
    operation_in_progress,
)
from vmapi.store.database import Database
from vmapi.store.inventory import duplicates
from vmapi.store.lease_heartbeat import LeaseHeartbeat
from vmapi.store.mappers import operation as mapper
from vmapi.store.operations import name_reservations, pages, statements, transitions
from vmapi.store.operations.bulk_operations import BulkOperationRepository
from vmapi.store.operations.finish_metrics import record_finished
from vmapi.store.operations.leases import LEASE_DURATION_US, LEASE_IS_FREE, OperationLeases
from vmapi.store.operations.saving import OperationSaver, SavedOperation
from vmapi.store.tables import operations

log = structlog.get_logger("vmapi.store")

INSERT_OPERATION = operations.insert().values(lease_expires_at=db_now() + LEASE_DURATION_US)
SELECT_LEASED = statements.SELECT_UNFINISHED.where(LEASE_IS_FREE).add_columns(db_now().label("now"))

OPERATION_PURGE_BATCH = 1000
"""Operations that one transaction deletes: other writers wait for it."""

MAX_INSERT_ATTEMPTS = 3
"""Inserts to attempt while every conflict is gone before its holder can be named."""


class OperationRepository:
    """The operations of one database.

    Safe to use from several threads. Any method may raise StoreUnavailable. `renews_idle`: see
    OperationLeases.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        renews_idle: bool = True,
        quotas: QuotaConfig = NO_QUOTAS,
        heartbeat: LeaseHeartbeat | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._quotas = quotas
        self._leases = OperationLeases(database, renews_idle=renews_idle, heartbeat=heartbeat)
        self._saver = OperationSaver(database)
        self.bulk = BulkOperationRepository(database, clock, self._leases)
        #: each operation of the last scan with its version, and the operation if it can be read
        self._scanned: dict[str, tuple[object, Operation | None]] = {}

    def find_by_key(self, key: IdempotencyKey) -> Operation | None:
        """Return the operation of an unexpired idempotency key; None without one.

        The fingerprint is not compared. Raises IdempotencyKeyReused for a bulk operation's key.
        """
        expired_before = self._clock() - IDEMPOTENCY_KEY_TTL
        with self._database.read() as connection:
            params = statements.key_params(key)
            row = connection.execute(statements.SELECT_BY_KEY, params).one()
        if row.bulk_created_at is not None and row.bulk_created_at > expired_before:
            raise IdempotencyKeyReused(KEY_REUSED_DETAIL)
        if row.id is None or row.created_at <= expired_before:
            return None
        return mapper.from_row(row)

    def get(self, operation_id: str, scope: Scope = None) -> Operation:
        """Return an operation of a project. Raises OperationNotFound."""
        rows = []
        # PostgreSQL refuses a NUL in a text
        if "\0" not in operation_id:
            with self._database.read() as connection:
                rows = statements.fetch_all(connection, statements.SELECT_BY_ID, id=operation_id)
        if not rows or scope not in (None, rows[0].project):
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return rows[0]

    def list_page(
        self, query: OperationQuery, request: PageRequest, scope: Scope = None
    ) -> Page[Operation]:
        """Return a page of the matching operations, newest first."""
        with self._database.snapshot() as connection:
            return pages.read_page(connection, query, request, scope)

    def list_pages_by_vm(
        self, vm_ids: Sequence[str], page_size: int, scope: Scope = None
    ) -> Mapping[str, Page[Operation]]:
        """Return the first page of the operations of each VM, newest first."""
        with self._database.read() as connection:
            return pages.read_pages_by_vm(connection, vm_ids, page_size, scope)

    def find_unfinished(self, vm_id: str) -> Operation | None:
        """Return the newest unfinished operation of a VM; None without one."""
        with self._database.read() as connection:
            query = statements.SELECT_UNFINISHED_OF_VM
            rows = statements.fetch_all(connection, query, vm_id=vm_id)
        return rows[-1] if rows else None

    def request_ids(self, vm_id: str) -> set[str]:
        """Return the cloud's request ids of all steps that were dispatched to a VM."""
        with self._database.read() as connection:
            plans = connection.execute(statements.SELECT_STEPS, {"vm_id": vm_id}).scalars().all()
        return {step["request_id"] for plan in plans for step in plan if step["request_id"]}

    def add(self, operation: Operation, vm_revision: int | None = None) -> VMSnapshot | None:
        """Admit a new operation; this thread holds its lease until `release` or `discard`.

        `vm_revision`: the revision that the row of the VM must have. Returns the VM where the
        overlay changed it. Raises IdempotencyKeyConflict, TaskInProgress, NameTaken,
        VMRevisionConflict and QuotaExceeded.
        """
        for _ in range(MAX_INSERT_ATTEMPTS):
            try:
                return self._add(operation, vm_revision)
            except IntegrityError:
                if conflict := self._conflict(operation):
                    raise conflict from None
                with self._database.write() as connection:
                    transitions.release_expired_key(connection, operation)
        raise operation_in_progress()

    def discard(
        self, operation: Operation, reason: VmapiError, disclosed_create: str | None = None
    ) -> None:
        """Delete an operation that was never dispatched, and audit the refusal.

        `disclosed_create`: the tag of the VM that the refusal names to the client.
        """
        try:
            with self._database.write() as connection:
                if disclosed_create is not None:
                    duplicates.mark_disclosed(connection, disclosed_create, operation.project)
                delete = operations.delete().where(operations.c.id == operation.id)
                if connection.execute(delete).rowcount:
                    entry = AuditEntry.refused(operation, self._clock(), reason.code)
                    transitions.on_discarded(connection, operation, entry)
        finally:
            self._leases.local_locks.release(operation.id)

    def release_stale_name(self, project: str, name: str, vm_id: str) -> None:
        """Release a name if its VM is deleted or has another name in the cloud."""
        with self._database.write() as connection:
            name_reservations.release_stale(connection, project, name, vm_id)

    def save(
        self,
        operation: Operation,
        observation: Observation | None = None,
        *,
        expected_vm: VM | None = None,
    ) -> SavedOperation:
        """Save the new state of an operation, together with an observation of the cloud.

        `expected_vm`: the VM of a create that the cloud has accepted; the inventory shows it until
        an observation does. Raises OperationRevisionConflict if another worker has saved or
        superseded the operation since it was read, or if its VM has another unfinished operation.
        """
        return self._saver.save(operation, observation, expected_vm)

    def list_leased(self) -> Sequence[Operation]:
        """Return the unfinished operations that this process may lease, oldest first.

        These are the operations that it leases already, and those with an expired lease. An
        operation that only another version of vmapi can read is left to that version.
        """
        read_at = time.monotonic()
        with self._database.read() as connection:
            rows = connection.execute(SELECT_LEASED, {"owner": self._leases.owner}).all()
        self._leases.record(rows, read_at)
        previous = self._scanned
        self._scanned = {
            row.id: entry
            if (entry := previous.get(row.id))
            and entry[0] == (row.revision, row.retry_requested_at)
            else ((row.revision, row.retry_requested_at), decode_row(row))
            for row in rows
        }
        return [operation for _, operation in self._scanned.values() if operation is not None]

    def lease(self, operation_id: str) -> AbstractContextManager[bool]:
        """Hold the lease of an operation; yield False while another worker holds it."""
        return self._leases.acquire(operation_id)

    def release(self, operation_id: str) -> None:
        """Give back the lease that `add` has acquired."""
        self._leases.release(operation_id)

    def renew_across_ticks(self) -> None:
        """Keep leases between two passes of the reconciler: this process runs an engine."""
        self._leases.renews_idle = True

    def purge(self, until: datetime) -> int:
        """Delete a batch of the operations that finished before a time; return the number."""
        batch = (
            select(operations.c.id)
            .where(operations.c.finished_at < until)
            .limit(OPERATION_PURGE_BATCH)
        )
        with self._database.write() as connection:
            delete = operations.delete().where(operations.c.id.in_(batch))
            return connection.execute(delete).rowcount

    def close(self) -> None:
        """Stop the heartbeat and release the leases."""
        self._leases.close()

    def _add(self, operation: Operation, vm_revision: int | None) -> VMSnapshot | None:
        row = {**mapper.to_row(operation), "lease_owner": self._leases.owner_id()}
        # before the row is visible: the engine of this process lacks the spec of a create
        self._leases.local_locks.acquire(operation.id)
        try:
            with self._database.write() as connection:
                superseded = transitions.before_insert(
                    connection, operation, self._quotas, vm_revision
                )
                connection.execute(INSERT_OPERATION, row)
                snapshot = transitions.after_insert(
                    connection, operation, self._quotas, vm_revision, superseded=superseded
                )
        except BaseException:
            self._leases.local_locks.release(operation.id)
            raise
        if superseded:
            record_finished(superseded)
        return snapshot

    def _conflict(
        self, operation: Operation
    ) -> TaskInProgress | NameTaken | IdempotencyKeyConflict | None:
        """Return the error of a refused insert; None if the holder has finished."""
        if operation.key is not None and self.find_by_key(operation.key) is not None:
            return IdempotencyKeyConflict()
        if operation.reserved_name is not None:
            with self._database.read() as connection:
                holder = name_reservations.find_holder(
                    connection, operation.project, operation.reserved_name
                )
            if holder is not None:
                return name_taken(operation.reserved_name, **holder._asdict())
        if operation.vm_id is not None and self.find_unfinished(operation.vm_id):
            return operation_in_progress()
        return None


def decode_row(row: Row[Any]) -> Operation | None:
    """Return the operation of a row; None and a log line for a row of another version."""
    try:
        return mapper.from_row(row)
    except (TypeError, ValueError) as error:
        log.error(
            "operation of another version cannot be read, not reconciled here",
            operation_id=row.id,
            reason=str(error),
        )
        return None
