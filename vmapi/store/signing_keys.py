"""Signing keys that all processes share, each created on first use.

A rotation keeps the key before: texts that it has signed stay valid until the next rotation.
"""

import secrets
import time
from collections.abc import Sequence

from sqlalchemy import Connection, select

from vmapi.store.database import Database, advisory_lock
from vmapi.store.tables import signing_keys

SIGNING_KEY_BYTES = 32

OLD_KEY_SUFFIX = ".old"

MAX_KEY_AGE_SECONDS = 60.0
"""Seconds after which a process reads its keys again."""


class SigningKeys:
    """The signing keys, by name. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[str, tuple[float, Sequence[str]]] = {}

    def get(self, name: str) -> Sequence[str]:
        """Return the keys of a name, the newest last, as read at most a minute ago."""
        read_at, keys = self._cache.get(name, (0.0, ()))
        if keys and time.monotonic() - read_at < MAX_KEY_AGE_SECONDS:
            return keys
        return self.read(name)

    def read(self, name: str) -> Sequence[str]:
        """Read the keys of a name, the newest last: random bytes in hexadecimal."""
        read_at = time.monotonic()
        with self._database.read() as connection:
            keys = _select_keys(connection, name)
        keys = keys or self._create(name)
        self._cache[name] = read_at, keys
        return keys

    def rotate(self, name: str) -> None:
        """Replace the newest key by a new one, and the key before by the newest."""
        with self._database.write() as connection:
            advisory_lock(connection, "keys")
            keys = _select_keys(connection, name)
            if keys:
                old_name = f"{name}{OLD_KEY_SUFFIX}"
                connection.execute(
                    signing_keys.delete().where(signing_keys.c.name.in_((name, old_name)))
                )
                _insert(connection, old_name, keys[-1])
            _insert(connection, name, secrets.token_hex(SIGNING_KEY_BYTES))

    def _create(self, name: str) -> Sequence[str]:
        with self._database.write() as connection:
            advisory_lock(connection, "keys")
            # another process may have created the key in the meantime
            keys = _select_keys(connection, name)
            if not keys:
                keys = (secrets.token_hex(SIGNING_KEY_BYTES),)
                _insert(connection, name, keys[0])
        return keys


def _insert(connection: Connection, name: str, key: str) -> None:
    connection.execute(signing_keys.insert().values(name=name, key=key))


def _select_keys(connection: Connection, name: str) -> Sequence[str]:
    names = (f"{name}{OLD_KEY_SUFFIX}", name)
    query = select(signing_keys.c.name, signing_keys.c.key).where(signing_keys.c.name.in_(names))
    key_by_name = {row.name: row.key for row in connection.execute(query)}
    return tuple(key_by_name[known] for known in names if known in key_by_name)
