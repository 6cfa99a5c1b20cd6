"""Bulk requests: which VMs each was for when it first came under its key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError

from vmapi.domain.caller import IdempotencyKey
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.database import Database
from vmapi.store.operations.transitions import IDEMPOTENCY_KEY_TTL
from vmapi.store.tables import bulk_requests as requests


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """A request's fingerprint, and the VMs that it was for."""

    fingerprint: str
    vm_ids: tuple[str, ...]


class BulkRequestRepository:
    """What the keys of bulk requests are bound to. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def find_by_key(self, key: IdempotencyKey) -> BulkRequest | None:
        """Return the request that a caller's key is bound to: for 24 hours.

        The fingerprint is not compared.
        """
        young = requests.c.created_at > self._clock() - IDEMPOTENCY_KEY_TTL
        query = select(requests.c.fingerprint, requests.c.vm_ids).where(young, *_key_filters(key))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return row and BulkRequest(row.fingerprint, tuple(row.vm_ids))

    def add(self, key: IdempotencyKey, vm_ids: Sequence[str]) -> None:
        """Bind a key to its request, and forget what is too old. Raises KeyTaken."""
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
                old = requests.c.created_at <= now - IDEMPOTENCY_KEY_TTL
                connection.execute(requests.delete().where(old))
                connection.execute(requests.insert(), row)
        except IntegrityError:
            raise IdempotencyKeyConflict from None


def _key_filters(key: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    return (
        requests.c.project == key.project,
        requests.c.caller == key.caller,
        requests.c.key == key.value,
    )
