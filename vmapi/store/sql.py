"""Operations in a database: shared by all processes, and still there after any death."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.models.lifecycle import Action
from vmapi.models.operation import IdempotencyKey, Operation, OperationQuery, OperationStatus
from vmapi.models.page import Page, Paging
from vmapi.store import queries, rows, schema
from vmapi.store.database import Database
from vmapi.store.leases import Leases
from vmapi.store.operations import (
    KEY_LIFE,
    KeyTaken,
    OperationStore,
    StaleOperation,
    name_taken,
    under_way,
)
from vmapi.store.queries import IS_UNFINISHED
from vmapi.store.tables import operations, steps


class SqlOperations(OperationStore):
    """Partial unique indexes hold what there may be just one of, whoever writes."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._leases = Leases(database)

    def add(self, operation: Operation) -> None:
        """Keep a new operation. Raises KeyTaken, TaskInProgress, NameTaken."""
        row = {**rows.of_operation(operation), **self._leases.taken()}
        try:
            with self._database.write() as connection:
                if operation.action is Action.DELETE:
                    self._supersede(connection, operation)
                else:
                    self._check_delete(connection, operation)
                if operation.key is not None:
                    self._forget_key(connection, operation)
                connection.execute(operations.insert().values(row))
                connection.execute(steps.insert(), rows.of_steps(operation))
                self._leases.held.take(operation.id)
        except IntegrityError:
            raise self._conflict(operation) from None

    def of_key(self, key: IdempotencyKey) -> Operation | None:
        """Return the operation that a caller's key is bound to."""
        with self._database.read() as connection:
            found = queries.found(connection, *queries.keyed(key))
        return found[0] if found and self._clock() - found[0].created_at < KEY_LIFE else None

    def discard(self, operation: Operation) -> None:
        """Forget an operation of which nothing was sent to the cloud."""
        try:
            with self._database.write() as connection:
                connection.execute(operations.delete().where(operations.c.id == operation.id))
        finally:
            self._leases.held.give(operation.id)

    def save(self, operation: Operation) -> Operation:
        """Keep the operation's new state. Raises StaleOperation."""
        saved = replace(operation, revision=operation.revision + 1)
        unmoved = (operations.c.id == operation.id) & IS_UNFINISHED
        unmoved &= operations.c.revision == operation.revision
        with self._database.write() as connection:
            kept = connection.execute(
                operations.update().where(unmoved).values(rows.of_operation(saved))
            )
            if kept.rowcount == 0:
                raise StaleOperation(operation.id)
            for step in rows.of_steps(saved):
                at = steps.c.operation_id == saved.id
                at &= steps.c.position == step["position"]
                connection.execute(steps.update().where(at).values(step))
        return saved

    def get(self, operation_id: str) -> Operation:
        """Return an operation. Raises OperationNotFound."""
        found = []
        # PostgreSQL takes no NUL in a text
        if "\0" not in operation_id:
            with self._database.read() as connection:
                found = queries.found(connection, operations.c.id == operation_id)
        if not found:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return found[0]

    def find(self, query: OperationQuery, paging: Paging) -> Page[Operation]:
        """Return a page of the operations that are asked for, the newest first."""
        wanted = {"vm_id": query.vm_id, "action": query.action, "status": query.status}
        clauses = [operations.c[name] == value for name, value in wanted.items() if value]
        clauses += queries.keyed(query.key)
        with self._database.read() as connection:
            count = select(func.count()).select_from(operations).where(*clauses)
            total = connection.execute(count).scalar_one()
            newest = (operations.c.created_at.desc(), operations.c.id.desc())
            found = queries.found(connection, *clauses, order=newest, paging=paging)
        return Page(found, total, paging)

    def mine(self) -> Sequence[Operation]:
        """Return the operations that this process is to carry on, the oldest first."""
        with self._database.read() as connection:
            order = (operations.c.created_at,)
            return queries.found(connection, IS_UNFINISHED, self._leases.free(), order=order)

    def unfinished_of(self, vm_ids: Sequence[str]) -> dict[str, Operation]:
        """Return what is under way with each VM."""
        # of a list it is quicker to ask for all that is under way
        asked = (
            operations.c.vm_id == vm_ids[0] if len(vm_ids) == 1 else operations.c.vm_id.is_not(None)
        )
        with self._database.read() as connection:
            order = (operations.c.created_at, operations.c.id)
            found = queries.found(connection, IS_UNFINISHED, asked, order=order)
        return {each.vm_id: each for each in found if each.vm_id is not None}

    def lease(self, operation_id: str, *, fresh: bool = False) -> AbstractContextManager[bool]:
        """Hold the right to advance an operation; this process keeps it for the next look."""
        return self._leases.use(operation_id, fresh=fresh)

    def keep(self) -> None:
        """Carry on here what is taken on here."""
        self._leases.keeps = True

    def leave(self) -> None:
        """Let others carry on what is taken on here."""
        self._leases.keeps = False

    def upgrade(self) -> str:
        """Bring the schema up to date. Raises StoreUnavailable."""
        schema.upgrade(self._database)
        return f"the database is at {schema.HEAD}"

    def ping(self) -> None:
        """Return when the database answers. Raises StoreUnavailable."""
        with self._database.read() as connection:
            connection.execute(select(1))

    def close(self) -> None:
        """Leave what is unfinished to others, and close the connections."""
        try:
            self._leases.give_all_back()
        finally:
            self._database.close()

    def _supersede(self, connection: Connection, delete: Operation) -> None:
        other = IS_UNFINISHED & (operations.c.vm_id == delete.vm_id)
        connection.execute(
            operations.update()
            .where(other, operations.c.action != Action.DELETE)
            .values(
                status=OperationStatus.SUPERSEDED,
                finished_at=delete.created_at,
                revision=operations.c.revision + 1,
            )
        )

    def _check_delete(self, connection: Connection, operation: Operation) -> None:
        delete = IS_UNFINISHED & (operations.c.action == Action.DELETE)
        of_vm = operations.c.vm_id == operation.vm_id
        if connection.execute(select(operations.c.id).where(delete, of_vm)).first():
            raise under_way()

    def _forget_key(self, connection: Connection, operation: Operation) -> None:
        old = operations.c.created_at <= operation.created_at - KEY_LIFE
        freed = dict.fromkeys(("idempotency_caller", "idempotency_key", "fingerprint"))
        connection.execute(
            operations.update().where(old, *queries.keyed(operation.key)).values(freed)
        )

    def _conflict(self, operation: Operation) -> TaskInProgress | NameTaken | KeyTaken:
        if operation.key is not None and self.of_key(operation.key) is not None:
            return KeyTaken()
        same_name = operations.c.claimed_name == operation.claimed_name
        with self._database.read() as connection:
            named = queries.found(connection, IS_UNFINISHED, same_name)
        if operation.claimed_name and named:
            return name_taken(operation, named[0])
        return under_way()
