"""Who carries an operation on: one process at a time, and in it one thread."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, or_

from vmapi.store.database import Database, now
from vmapi.store.operations import Held
from vmapi.store.queries import IS_UNFINISHED
from vmapi.store.tables import operations

LEASE = 60_000_000
"""Microseconds after which a process that was not heard of has lost its operations.

Longer than a call to the cloud may take; the next look renews it.
"""


class Leases:
    """The leases of this process: on the database's clock, which all processes share."""

    def __init__(self, database: Database) -> None:
        self.held = Held()
        self.keeps = True
        self._database = database
        self._owner = str(uuid.uuid4())

    def taken(self) -> dict[str, Any]:
        """Return what the row of an operation says when this process has its lease."""
        return {"lease_owner": self._owner, "lease_until": now() + LEASE}

    def free(self) -> ColumnElement[bool]:
        """Return the condition that this process may have, or has, an operation's lease."""
        expired = operations.c.lease_until < now()
        return or_(operations.c.lease_owner == self._owner, expired)

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
                    self._give_back(operations.c.id == operation_id)
        finally:
            self.held.give(operation_id)

    def give_all_back(self) -> None:
        """Leave what is unfinished to others."""
        self._give_back(operations.c.lease_owner == self._owner)

    def _give_back(self, which: ColumnElement[bool]) -> None:
        mine = which & IS_UNFINISHED & (operations.c.lease_owner == self._owner)
        with self._database.write() as connection:
            connection.execute(operations.update().where(mine).values(lease_until=0))

    def _renew(self, operation_id: str) -> bool:
        asked = operations.c.id == operation_id
        with self._database.write() as connection:
            taken = connection.execute(
                operations.update().where(asked, self.free()).values(self.taken())
            )
        return taken.rowcount == 1
