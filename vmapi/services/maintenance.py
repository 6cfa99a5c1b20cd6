"""What has to be done from time to time, by one process for all."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from vmapi.domain.vm import DELETED_VM_RETENTION
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.housekeeping")

PURGE_INTERVAL = 3600.0
"""Seconds between two looks for what is too old to be kept."""


class Maintenance:
    """Closes the audit trail's chain, renews duties, forgets what has been kept for long enough.

    Without a key the trail is kept, but not chained. `clock` tells the time in UTC, `monotonic` in
    seconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        audit_key: str | None,
        operation_retention: timedelta,
        audit_retention: timedelta,
        event_retention: timedelta,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._audit_key = audit_key
        self._operation_retention = operation_retention
        self._audit_retention = audit_retention
        self._event_retention = event_retention
        self._clock = clock
        self._monotonic = monotonic
        self._next_purge_at = monotonic()

    def run(self) -> None:
        """Do what is due; the engine calls it at least once a second. Raises StoreUnavailable."""
        if self._audit_key is not None and self._store.audit.has_pending():
            self._chain_pending(self._audit_key)
        if self._monotonic() >= self._next_purge_at:
            self._next_purge_at = self._monotonic() + PURGE_INTERVAL
            if self._store.leader_leases.acquire("retention"):
                self._purge()

    def _chain_pending(self, key: str) -> None:
        # held anew for each batch: many may take longer than a duty is held
        while self._store.leader_leases.acquire("audit") and self._store.audit.chain_pending(key):
            pass

    def _purge(self) -> None:
        now = self._clock()
        operations = 0
        while forgotten := self._store.operations.purge(now - self._operation_retention):
            operations += forgotten
        entries = self._store.audit.purge(now - self._audit_retention, self._audit_key)
        if entries:
            # the rest with the next tick: on SQLite nobody else writes meanwhile
            self._next_purge_at = self._monotonic()
        vms = self._store.inventory.purge_deleted(now - DELETED_VM_RETENTION)
        events = self._purge_events()
        if operations or entries or vms or events:
            log.info(
                "forgot what was too old",
                operations=operations,
                audit_entries=entries,
                vms=vms,
                events=events,
            )

    def _purge_events(self) -> int:
        # where nobody listens they have no numbers yet
        self._store.events.assign_sequences()
        events = 0
        while forgotten := self._store.events.purge(self._event_retention):
            events += forgotten
        return events
