"""Operations in a database: shared by all processes, and still there after any death."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from vmapi.domain.audit import AuditEntry
from vmapi.domain.operation import Operation
from vmapi.domain.quota import NO_QUOTAS, QuotaConfig
from vmapi.errors import NameTaken, TaskInProgress, VmapiError
from vmapi.store.audit import trail as audit
from vmapi.store.conflicts import (
    IdempotencyKeyConflict,
    OperationRevisionConflict,
    name_taken,
    operation_in_progress,
)
from vmapi.store.database import Database, db_now
from vmapi.store.inventory import overlay
from vmapi.store.mappers import operation as rows
from vmapi.store.operations import name_claims as names
from vmapi.store.operations import statements as queries
from vmapi.store.operations import transitions as room
from vmapi.store.operations.leases import LEASE_DURATION_US, LEASE_IS_FREE, OperationLeases
from vmapi.store.operations.reader import OperationReader
from vmapi.store.tables import operations

log = structlog.get_logger("vmapi.store")

INSERT_OPERATION = operations.insert().values(lease_expires_at=db_now() + LEASE_DURATION_US)
SELECT_LEASED = queries.SELECT_UNFINISHED.where(LEASE_IS_FREE)

OPERATION_PURGE_BATCH = 1000
"""Operations that are forgotten in one transaction."""

MAX_INSERT_ATTEMPTS = 3
"""How often an operation is tried whose way is barred by what is gone when it is looked at."""


class OperationRepository(OperationReader):
    """Keeps operations, and what there may be just one of: the unfinished one of a VM, a name.

    Unique indexes hold that, whoever writes. Each operation's beginning and end is written to the
    audit trail in the same transaction. Safe to use from several threads; any method may raise
    StoreUnavailable.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        renews_idle: bool = True,
        quotas: QuotaConfig = NO_QUOTAS,
    ) -> None:
        super().__init__(database, clock)
        self._quotas = quotas
        self._leases = OperationLeases(database, renews_idle=renews_idle)
        self._unreadable: set[str] = set()

    def add(self, operation: Operation) -> Operation:
        """Keep a new operation, held by this thread; a delete ends what is under way with its VM.

        Raises KeyTaken when its idempotency key is bound, TaskInProgress when the VM has an
        unfinished one, NameTaken when its name is claimed, StaleVM when the VM has changed.
        Raises QuotaExceeded.
        """
        for _ in range(MAX_INSERT_ATTEMPTS):
            try:
                return self._add(operation)
            except IntegrityError:
                if conflict := self._conflict(operation):
                    raise conflict from None
        raise operation_in_progress()

    def discard(self, operation: Operation, reason: VmapiError) -> None:
        """Forget an operation of which nothing was sent to the cloud."""
        entry = AuditEntry.refused(operation, self._clock(), reason.code)
        try:
            with self._database.write() as connection:
                forget = operations.delete().where(operations.c.id == operation.id)
                if connection.execute(forget).rowcount:
                    names.release(connection, operation)
                    overlay.refresh(connection, operation.vm_id)
                    audit.append(connection, entry)
        finally:
            self._leases.local_locks.release(operation.id)

    def release_stale_name(self, project: str, name: str, vm_id: str) -> None:
        """Give up a claim of which the cloud says that its VM has another name, or is gone."""
        with self._database.write() as connection:
            names.release_stale(connection, project, name, vm_id)

    def save(self, operation: Operation) -> Operation:
        """Keep the operation's new state and return it with its new revision.

        Raises StaleOperation when it has been moved on, or superseded, since it was read, and
        while something else is under way with its VM.
        """
        saved = replace(operation, revision=operation.revision + 1)
        for seen in (False, True):
            try:
                return self._save(saved, vm_observed=seen)
            except IntegrityError:
                # a look was first to see its new VM, or something else is under way with that
                self._check_no_other(saved)
        return self._save(saved, vm_observed=True)

    def list_leased(self) -> Sequence[Operation]:
        """Return the operations that this process is to carry on, the oldest first.

        They are its own, and those whose process has not been heard of for a while. What another
        version has kept, and this one cannot read, is left to that.
        """
        with self._database.read() as connection:
            found = connection.execute(SELECT_LEASED, {"owner": self._leases.owner}).all()
        return [operation for row in found if (operation := self._decode(row)) is not None]

    def lease(self, operation_id: str, *, lease_held: bool = False) -> AbstractContextManager[bool]:
        """Hold the right to advance an operation; False when somebody else holds it.

        Who has just added an operation holds it already, and says `fresh`.
        """
        return self._leases.acquire(operation_id, lease_held=lease_held)

    def renew_across_ticks(self) -> None:
        """Carry on here what is taken on here: a lease is kept from one look to the next."""
        self._leases.renews_idle = True

    def purge(self, until: datetime) -> int:
        """Forget some operations that were over before then; return how many."""
        old = (
            select(operations.c.id)
            .where(operations.c.finished_at < until)
            .limit(OPERATION_PURGE_BATCH)
        )
        with self._database.write() as connection:
            return connection.execute(operations.delete().where(operations.c.id.in_(old))).rowcount

    def close(self) -> None:
        """Leave what is unfinished to others."""
        self._leases.close()

    def _decode(self, row: Row[Any]) -> Operation | None:
        try:
            return rows.from_row(row)
        except (TypeError, ValueError) as unknown:
            # once: it is looked at each tick
            if row.id not in self._unreadable:
                self._unreadable.add(row.id)
                log.error(
                    "an operation of another version cannot be read and is not carried on here",
                    operation_id=row.id,
                    reason=str(unknown),
                )
            return None

    def _add(self, operation: Operation) -> Operation:
        row = {**rows.to_row(operation), "lease_owner": self._leases.owner_id()}
        # before others can see it: the engine of this process does not know what it is to make
        self._leases.local_locks.acquire(operation.id)
        try:
            with self._database.write() as connection:
                ended = room.before_insert(connection, operation, self._quotas)
                connection.execute(INSERT_OPERATION, row)
                shown = room.after_insert(connection, operation, self._quotas, alone=not ended)
        except BaseException:
            self._leases.local_locks.release(operation.id)
            raise
        return replace(operation, snapshot=shown)

    def _save(self, saved: Operation, *, vm_observed: bool = False) -> Operation:
        # what was just sent is found again in the cloud by who finds that it was about to be sent
        with self._database.write(
            hasty=saved.is_awaiting_outcome and not saved.is_finished
        ) as connection:
            if connection.execute(rows.UPDATE_OPERATION, rows.update_params(saved)).rowcount == 0:
                raise OperationRevisionConflict(saved.id)
            if saved.is_finished:
                room.on_finished(connection, saved)
            elif saved.is_awaiting_outcome:
                shown = overlay.on_accepted(connection, saved, vm_observed=vm_observed)
                return replace(saved, snapshot=shown or saved.snapshot)
        return saved

    def _check_no_other(self, operation: Operation) -> None:
        with self._database.read() as connection:
            if room.has_other_unfinished(connection, operation):
                raise OperationRevisionConflict(operation.id)

    def _conflict(
        self, operation: Operation
    ) -> TaskInProgress | NameTaken | IdempotencyKeyConflict | None:
        # None when what was in the way has gone meanwhile
        if operation.key is not None and self.find_by_key(operation.key) is not None:
            return IdempotencyKeyConflict()
        if operation.reserved_name is not None:
            with self._database.read() as connection:
                holder = names.find_holder(connection, operation.project, operation.reserved_name)
            if holder is not None:
                return name_taken(operation.reserved_name, **holder._asdict())
        if operation.vm_id is not None and self.find_unfinished(operation.vm_id):
            return operation_in_progress()
        return None
