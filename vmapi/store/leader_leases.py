"""Leader leases: jobs that exactly one process runs, such as the inventory sync.

A process acquires a lease before each run of the job. The heartbeat renews it during a long run.
A lease expires when its owner dies, and another process takes the job over. A lease that ends
later than a new one would is from a wrong clock, and free.

Leases are written with `durable=False`. A power failure can lose the last ones: then two processes
run a job at once for one lease duration, until the former owner fails to acquire the lease again.
No job depends on being alone for correctness: each takes a lock or compares revisions where
concurrent runs could conflict.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from vmapi.store.clock import db_now, sql_is_expired
from vmapi.store.database import Database
from vmapi.store.lease_heartbeat import LeaseHeartbeat
from vmapi.store.tables import leader_leases
from vmapi.telemetry.metrics.catalog import LEADER

LEADER_LEASE_DURATION_US = 5_000_000
"""Microseconds until a lease expires that its owner does not renew."""


class LeaderLeases:
    """The leader leases of this process. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database, heartbeat: LeaseHeartbeat | None = None) -> None:
        self._database = database
        self._owner = str(uuid.uuid4())
        self._has_acquired = False
        # a name is listed once per thread; append and remove are atomic
        self._renewed_names: list[str] = []
        self._heartbeat = heartbeat or LeaseHeartbeat()
        self._heartbeat.register(self.renew)

    def acquire(self, name: str) -> bool:
        """Acquire or renew a lease; return False while another process holds it."""
        acquired = self._try_acquire(name)
        LEADER.set(acquired, name)
        if acquired:
            self._has_acquired = True
        return acquired

    @contextmanager
    def renewing(self, name: str) -> Iterator[None]:
        """Have the heartbeat renew an acquired lease until the block ends."""
        self._renewed_names.append(name)
        try:
            self._heartbeat.start()
            yield
        finally:
            self._renewed_names.remove(name)

    def renew(self) -> None:
        """Renew the leases of the running jobs; the heartbeat calls this."""
        if names := set(self._renewed_names):
            is_renewed = (leader_leases.c.owner == self._owner) & leader_leases.c.name.in_(names)
            expires_at = db_now() + LEADER_LEASE_DURATION_US
            with self._database.write(durable=False) as connection:
                connection.execute(
                    leader_leases.update().where(is_renewed).values(expires_at=expires_at)
                )

    def close(self) -> None:
        """Stop the heartbeat and release every lease of this process."""
        self._heartbeat.close()
        if self._has_acquired:
            with self._database.write(durable=False) as connection:
                is_owned = leader_leases.c.owner == self._owner
                connection.execute(leader_leases.update().where(is_owned).values(expires_at=0))

    def _try_acquire(self, name: str) -> bool:
        expires_at = db_now() + LEADER_LEASE_DURATION_US
        lease = {"owner": self._owner, "expires_at": expires_at, "process": _process_name()}
        is_named = leader_leases.c.name == name
        is_expired = sql_is_expired(leader_leases.c.expires_at, LEADER_LEASE_DURATION_US)
        is_free = (leader_leases.c.owner == self._owner) | is_expired
        try:
            with self._database.write(durable=False) as connection:
                update = leader_leases.update().where(is_named, is_free).values(lease)
                if connection.execute(update).rowcount:
                    return True
                if connection.execute(leader_leases.select().where(is_named)).first() is None:
                    connection.execute(leader_leases.insert().values(name=name, **lease))
                    return True
        except IntegrityError:
            # another process inserted the row first
            pass
        return False


def _process_name() -> str:
    """Return the host and the id of this process, for operators."""
    return f"{socket.gethostname()[:200]}, process {os.getpid()}"
