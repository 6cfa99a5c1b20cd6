"""What has to be done from time to time, by one process for all."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from vmapi.store.store import Store

log = structlog.get_logger("vmapi.housekeeping")

REMEMBERED = timedelta(hours=24)
"""How long a deleted VM is listed."""

PRUNING = 3600.0
"""Seconds between two looks for what is too old to be kept."""


class Housekeeping:
    """Closes the audit trail's chain, renews duties, forgets what has been kept for long enough.

    Without a key the trail is kept, but not chained. `clock` tells the time in UTC, `monotonic` in
    seconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        audit_key: str | None,
        keep_operations: timedelta,
        keep_audit: timedelta,
        keep_events: timedelta,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._audit_key = audit_key
        self._keep_operations = keep_operations
        self._keep_audit = keep_audit
        self._keep_events = keep_events
        self._clock = clock
        self._monotonic = monotonic
        self._next_pruning = monotonic()

    def tick(self) -> None:
        """Do what is due; the engine calls it at least once a second. Raises StoreUnavailable."""
        self._store.duties.renew()
        if self._audit_key is not None and self._store.audit.has_open():
            self._close_chain(self._audit_key)
        if self._monotonic() >= self._next_pruning:
            self._next_pruning = self._monotonic() + PRUNING
            if self._store.duties.hold("retention"):
                self._prune()

    def _close_chain(self, key: str) -> None:
        # held anew for each batch: many may take longer than a duty is held
        while self._store.duties.hold("audit") and self._store.audit.close_chain(key):
            pass

    def _prune(self) -> None:
        now = self._clock()
        operations = 0
        while forgotten := self._store.operations.forget(now - self._keep_operations):
            operations += forgotten
        entries = self._store.audit.forget(now - self._keep_audit, self._audit_key)
        if entries:
            # the rest with the next tick: on SQLite nobody else writes meanwhile
            self._next_pruning = self._monotonic()
        vms = self._store.inventory.forget(now - REMEMBERED)
        events = self._forget_events()
        if operations or entries or vms or events:
            log.info(
                "forgot what was too old",
                operations=operations,
                audit_entries=entries,
                vms=vms,
                events=events,
            )

    def _forget_events(self) -> int:
        # where nobody listens they have no numbers yet
        self._store.events.number()
        events = 0
        while forgotten := self._store.events.forget(self._keep_events):
            events += forgotten
        return events
