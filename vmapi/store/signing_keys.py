"""Keys that all processes share. Each is made when it is first asked for."""

import secrets

from sqlalchemy import Select, select

from vmapi.store.access_tables import keys
from vmapi.store.database import Database, lock

BYTES = 32


class Keys:
    """The keys by their names. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, str] = {}

    def get(self, name: str) -> str:
        """Return a key, of random bytes in hexadecimal."""
        if name not in self._known:
            self._known[name] = self._find(name) or self._make(name)
        return self._known[name]

    def _find(self, name: str) -> str | None:
        with self._database.read() as connection:
            key: str | None = connection.execute(_of(name)).scalar()
        return key

    def _make(self, name: str) -> str:
        with self._database.write() as connection:
            lock(connection, "keys")
            # another process may have been first
            key: str | None = connection.execute(_of(name)).scalar()
            if key is None:
                key = secrets.token_hex(BYTES)
                connection.execute(keys.insert().values(name=name, key=key))
        return key


def _of(name: str) -> Select[str]:
    return select(keys.c.key).where(keys.c.name == name)
