"""Operations in a database: shared by all processes, and still there after any death."""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select
from sqlalchemy.exc import IntegrityError

from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.models.lifecycle import Action
from vmapi.models.operation import IdempotencyKey, Operation, OperationQuery, OperationStatus
from vmapi.models.page import Page, Paging
from vmapi.store import rows, schema
from vmapi.store.database import Database, now
from vmapi.store.operations import (
    KEY_LIFE,
    Held,
    KeyTaken,
    OperationStore,
    StaleOperation,
    name_taken,
)
from vmapi.store.tables import operations, steps

LEASE = 60_000_000
"""Microseconds after which a process that was not heard of has lost its operations.

Longer than a call to the cloud may take; the next look renews it.
"""

IS_UNFINISHED = operations.c.finished_at.is_(None)


class SqlOperations(OperationStore):
    """Partial unique indexes hold what there may be just one of, whoever writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = Held()
        self._owner = str(uuid.uuid4())
        self._keeps = True

    def add(self, operation: Operation) -> None:
        """Keep a new operation. Raises KeyTaken, TaskInProgress, NameTaken."""
        row = {**rows.of_operation(operation), **self._leased()}
        try:
            with self._database.write() as connection:
                if operation.action is Action.DELETE:
                    self._supersede(connection, operation)
                if operation.key is not None:
                    self._forget_key(connection, operation)
                connection.execute(operations.insert().values(row))
                connection.execute(steps.insert(), rows.of_steps(operation))
                self._held.take(operation.id)
        except IntegrityError:
            raise self._conflict(operation) from None

    def of_key(self, key: IdempotencyKey) -> Operation | None:
        """Return the operation that a caller's key is bound to."""
        with self._database.read() as connection:
            found = self._select(connection, *_keyed(key))
        return next(iter(found), None)

    def discard(self, operation: Operation) -> None:
        """Forget an operation of which nothing was sent to the cloud."""
        with self._database.write() as connection:
            connection.execute(operations.delete().where(operations.c.id == operation.id))
        self._held.give(operation.id)

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
        with self._database.read() as connection:
            found = self._select(connection, operations.c.id == operation_id)
        if not found:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return found[0]

    def find(self, query: OperationQuery, paging: Paging) -> Page[Operation]:
        """Return a page of the operations that are asked for, the newest first."""
        wanted = {"vm_id": query.vm_id, "action": query.action, "status": query.status}
        clauses = [operations.c[name] == value for name, value in wanted.items() if value]
        clauses += _keyed(query.key)
        with self._database.read() as connection:
            count = select(func.count()).select_from(operations).where(*clauses)
            total = connection.execute(count).scalar_one()
            newest = (operations.c.created_at.desc(), operations.c.id.desc())
            found = self._select(connection, *clauses, order=newest, paging=paging)
        return Page(found, total, paging)

    def mine(self) -> Sequence[Operation]:
        """Return the operations that this process is to carry on, the oldest first."""
        with self._database.read() as connection:
            order = (operations.c.created_at,)
            return self._select(connection, IS_UNFINISHED, self._free(), order=order)

    def unfinished_of(self, vm_ids: Sequence[str]) -> dict[str, Operation]:
        """Return what is under way with each VM."""
        # of a list it is quicker to ask for all that is under way
        asked = (
            operations.c.vm_id == vm_ids[0] if len(vm_ids) == 1 else operations.c.vm_id.is_not(None)
        )
        with self._database.read() as connection:
            order = (operations.c.created_at, operations.c.id)
            found = self._select(connection, IS_UNFINISHED, asked, order=order)
        return {each.vm_id: each for each in found if each.vm_id is not None}

    @contextmanager
    def lease(self, operation_id: str, *, fresh: bool = False) -> Iterator[bool]:
        """Hold the right to advance an operation; this process keeps it for the next look."""
        if not fresh and not self._held.take(operation_id):
            yield False
            return
        mine = fresh or self._renew(operation_id)
        try:
            yield mine
        finally:
            self._held.give(operation_id)
            if mine and not self._keeps:
                self._give_back(operations.c.id == operation_id)

    def keep(self) -> None:
        """Carry on here what is taken on here."""
        self._keeps = True

    def leave(self) -> None:
        """Let others carry on what is taken on here."""
        self._keeps = False

    def _give_back(self, which: ColumnElement[bool]) -> None:
        mine = which & IS_UNFINISHED & (operations.c.lease_owner == self._owner)
        with self._database.write() as connection:
            connection.execute(operations.update().where(mine).values(lease_until=0))

    def _renew(self, operation_id: str) -> bool:
        asked = operations.c.id == operation_id
        with self._database.write() as connection:
            taken = connection.execute(
                operations.update().where(asked, self._free()).values(self._leased())
            )
        return taken.rowcount == 1

    def _free(self) -> ColumnElement[bool]:
        expired = operations.c.lease_until < now()
        return or_(operations.c.lease_owner == self._owner, expired)

    def _leased(self) -> dict[str, Any]:
        return {"lease_owner": self._owner, "lease_until": now() + LEASE}

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
        self._give_back(operations.c.lease_owner == self._owner)
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

    def _forget_key(self, connection: Connection, operation: Operation) -> None:
        old = operations.c.created_at < operation.created_at - KEY_LIFE
        freed = dict.fromkeys(("idempotency_caller", "idempotency_key", "fingerprint"))
        connection.execute(operations.update().where(old, *_keyed(operation.key)).values(freed))

    def _conflict(self, operation: Operation) -> TaskInProgress | NameTaken | KeyTaken:
        if operation.key is not None and self.of_key(operation.key) is not None:
            return KeyTaken()
        same_name = operations.c.claimed_name == operation.claimed_name
        with self._database.read() as connection:
            named = self._select(connection, IS_UNFINISHED, same_name)
        if operation.claimed_name and named:
            return name_taken(operation, named[0])
        return TaskInProgress("Another change of the VM is still under way.")

    def _select(
        self,
        connection: Connection,
        *clauses: ColumnElement[bool],
        order: Sequence[ColumnElement[Any]] = (),
        paging: Paging | None = None,
    ) -> list[Operation]:
        query = select(operations).where(*clauses).order_by(*order)
        if paging is not None:
            query = query.limit(paging.page_size).offset((paging.page - 1) * paging.page_size)
        found = connection.execute(query).all()
        plans: dict[str, list[Row[Any]]] = defaultdict(list)
        mine = steps.c.operation_id.in_([row.id for row in found])
        for step in connection.execute(select(steps).where(mine).order_by(steps.c.position)):
            plans[step.operation_id].append(step)
        return [rows.operation(row, plans[row.id]) for row in found]


def _keyed(key: IdempotencyKey | None) -> list[ColumnElement[bool]]:
    if key is None:
        return []
    return [
        operations.c.idempotency_caller == key.caller,
        operations.c.idempotency_key == key.value,
    ]
