"""Signing keys that all processes share, each created on first use."""

import secrets

from sqlalchemy import Select, select

from vmapi.store.database import Database, advisory_lock
from vmapi.store.tables import signing_keys

SIGNING_KEY_BYTES = 32


class SigningKeys:
    """The signing keys, by name. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[str, str] = {}

    def get(self, name: str) -> str:
        """Return a key: random bytes in hexadecimal."""
        if name not in self._cache:
            self._cache[name] = self._find(name) or self._create(name)
        return self._cache[name]

    def _find(self, name: str) -> str | None:
        with self._database.read() as connection:
            key: str | None = connection.execute(_select_key(name)).scalar()
        return key

    def _create(self, name: str) -> str:
        with self._database.write() as connection:
            advisory_lock(connection, "keys")
            # another process may have created the key in the meantime
            key: str | None = connection.execute(_select_key(name)).scalar()
            if key is None:
                key = secrets.token_hex(SIGNING_KEY_BYTES)
                connection.execute(signing_keys.insert().values(name=name, key=key))
        return key


def _select_key(name: str) -> Select[str]:
    return select(signing_keys.c.key).where(signing_keys.c.name == name)
