"""Duties: what one process does for all, until it has not been heard of for a while."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from vmapi.store.database import Database, db_now
from vmapi.store.tables import leader_leases

LEADER_LEASE_DURATION_US = 5_000_000
"""Microseconds after which a holder that was not heard of has lost a duty."""


class LeaderLeases:
    """The duties of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = str(uuid.uuid4())
        self._has_acquired = False
        # of several threads: once for each; adding to a list and removing from it is atomic
        self._renewed_names: list[str] = []

    def acquire(self, name: str) -> bool:
        """Take a duty, or keep it; False while another process has it. Raises StoreUnavailable."""
        held = self._try_acquire(name)
        if held:
            self._has_acquired = True
        return held

    @contextmanager
    def renewing(self, name: str) -> Iterator[None]:
        """Keep a duty that is held, for as long as this lasts and somebody calls `renew`."""
        self._renewed_names.append(name)
        try:
            yield
        finally:
            self._renewed_names.remove(name)

    def renew(self) -> None:
        """Say that what is kept is still being done; called about once a second."""
        if kept := set(self._renewed_names):
            with self._database.write() as connection:
                mine = (leader_leases.c.owner == self._owner) & leader_leases.c.name.in_(kept)
                connection.execute(
                    leader_leases.update()
                    .where(mine)
                    .values(expires_at=db_now() + LEADER_LEASE_DURATION_US)
                )

    def close(self) -> None:
        """Leave every duty to others."""
        if self._has_acquired:
            with self._database.write() as connection:
                mine = leader_leases.c.owner == self._owner
                connection.execute(leader_leases.update().where(mine).values(expires_at=0))

    def _try_acquire(self, name: str) -> bool:
        term = {"owner": self._owner, "expires_at": db_now() + LEADER_LEASE_DURATION_US}
        free = (leader_leases.c.owner == self._owner) | (leader_leases.c.expires_at < db_now())
        try:
            with self._database.write() as connection:
                taken = (
                    leader_leases.update().where(leader_leases.c.name == name, free).values(term)
                )
                if connection.execute(taken).rowcount:
                    return True
                known = leader_leases.select().where(leader_leases.c.name == name)
                if connection.execute(known).first() is None:
                    connection.execute(leader_leases.insert().values(name=name, **term))
                    return True
        except IntegrityError:
            # another process was first
            pass
        return False
