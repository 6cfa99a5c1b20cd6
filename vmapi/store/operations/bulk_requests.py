"""Idempotency keys of bulk requests: a repeat acts on the VMs of the first one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError

from vmapi.domain.caller import IdempotencyKey
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.database import Database
from vmapi.store.operations.transitions import IDEMPOTENCY_KEY_TTL
from vmapi.store.tables import bulk_requests


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """The fingerprint and the VMs of a bulk request."""

    fingerprint: str
    vm_ids: tuple[str, ...]


class BulkRequestRepository:
    """The bulk requests of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def find_by_key(self, key: IdempotencyKey) -> BulkRequest | None:
        """Return the request of an idempotency key that has not expired; None without one.

        The fingerprint is not compared.
        """
        is_valid = bulk_requests.c.created_at > self._clock() - IDEMPOTENCY_KEY_TTL
        query = select(bulk_requests.c.fingerprint, bulk_requests.c.vm_ids)
        with self._database.read() as connection:
            row = connection.execute(query.where(is_valid, *_key_filters(key))).first()
        return row and BulkRequest(row.fingerprint, tuple(row.vm_ids))

    def add(self, key: IdempotencyKey, vm_ids: Sequence[str]) -> None:
        """Bind a key to the VMs of its request; purge expired keys.

        Raises IdempotencyKeyConflict if the key is bound.
        """
        now = self._clock()
        row = {
            "project": key.project,
            "caller": key.caller,
            "key": key.value,
            "fingerprint": key.fingerprint,
            "vm_ids": list(vm_ids),
            "created_at": now,
        }
        try:
            with self._database.write() as connection:
                is_expired = bulk_requests.c.created_at <= now - IDEMPOTENCY_KEY_TTL
                connection.execute(bulk_requests.delete().where(is_expired))
                connection.execute(bulk_requests.insert(), row)
        except IntegrityError:
            raise IdempotencyKeyConflict from None


def _key_filters(key: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    return (
        bulk_requests.c.project == key.project,
        bulk_requests.c.caller == key.caller,
        bulk_requests.c.key == key.value,
    )
