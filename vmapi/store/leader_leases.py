"""Duties: what one process does for all, until it has not been heard of for a while."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from vmapi.store.database import Database, now
from vmapi.store.tables import duties

TERM = 5_000_000
"""Microseconds after which a holder that was not heard of has lost a duty."""


class Duties:
    """The duties of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = str(uuid.uuid4())
        self._held = False
        # of several threads: once for each; adding to a list and removing from it is atomic
        self._kept: list[str] = []

    def hold(self, name: str) -> bool:
        """Take a duty, or keep it; False while another process has it. Raises StoreUnavailable."""
        held = self._take(name)
        if held:
            self._held = True
        return held

    @contextmanager
    def kept(self, name: str) -> Iterator[None]:
        """Keep a duty that is held, for as long as this lasts and somebody calls `renew`."""
        self._kept.append(name)
        try:
            yield
        finally:
            self._kept.remove(name)

    def renew(self) -> None:
        """Say that what is kept is still being done; called about once a second."""
        if kept := set(self._kept):
            with self._database.write() as connection:
                mine = (duties.c.owner == self._owner) & duties.c.name.in_(kept)
                connection.execute(duties.update().where(mine).values(until=now() + TERM))

    def close(self) -> None:
        """Leave every duty to others."""
        if self._held:
            with self._database.write() as connection:
                mine = duties.c.owner == self._owner
                connection.execute(duties.update().where(mine).values(until=0))

    def _take(self, name: str) -> bool:
        term = {"owner": self._owner, "until": now() + TERM}
        free = (duties.c.owner == self._owner) | (duties.c.until < now())
        try:
            with self._database.write() as connection:
                taken = duties.update().where(duties.c.name == name, free).values(term)
                if connection.execute(taken).rowcount:
                    return True
                known = duties.select().where(duties.c.name == name)
                if connection.execute(known).first() is None:
                    connection.execute(duties.insert().values(name=name, **term))
                    return True
        except IntegrityError:
            # another process was first
            pass
        return False
