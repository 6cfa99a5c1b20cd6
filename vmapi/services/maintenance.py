"""Maintain the database: chain the audit trail, and purge expired rows.

The engine runs this as a periodic task in every process. A leader lease ("audit", "retention")
makes sure that one process does each part for all.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from vmapi.domain.vm import DELETED_VM_RETENTION

if TYPE_CHECKING:
    from vmapi.store.api_tokens import ApiTokenRepository
    from vmapi.store.audit.repository import AuditRepository
    from vmapi.store.events import EventLog
    from vmapi.store.inventory.repository import InventoryRepository
    from vmapi.store.leader_leases import LeaderLeases
    from vmapi.store.operations.repository import OperationRepository

log = structlog.get_logger("vmapi.maintenance")

PURGE_INTERVAL = 3600.0
"""Seconds between two purges."""


class MaintainedStore(Protocol):
    """The repositories that maintenance uses. A property opens the database on first use."""

    @property
    def leader_leases(self) -> "LeaderLeases":
        """The leader leases of this process."""
        ...

    @property
    def audit(self) -> "AuditRepository":
        """The audit trail."""
        ...

    @property
    def operations(self) -> "OperationRepository":
        """The operations."""
        ...

    @property
    def inventory(self) -> "InventoryRepository":
        """The VMs."""
        ...

    @property
    def events(self) -> "EventLog":
        """The event log."""
        ...

    @property
    def api_tokens(self) -> "ApiTokenRepository":
        """The API tokens."""
        ...


class Maintenance:
    """The maintenance of the database. `clock` returns UTC, `monotonic` seconds.

    `read_audit_keys` returns the keys of the audit trail, the newest first. Without a key it has no
    hash chain.
    """

    def __init__(
        self,
        store: MaintainedStore,
        *,
        read_audit_keys: Callable[[], Sequence[str]],
        operation_retention: timedelta,
        audit_retention: timedelta,
        event_retention: timedelta,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._read_audit_keys = read_audit_keys
        self._operation_retention = operation_retention
        self._audit_retention = audit_retention
        self._event_retention = event_retention
        self._clock = clock
        self._monotonic = monotonic
        self._next_purge_at = monotonic()

    def run(self) -> None:
        """Run the tasks that are due. The engine calls this once a second.

        Raises StoreUnavailable.
        """
        keys = self._read_audit_keys()
        if keys and self._store.audit.has_pending():
            self._chain_pending(keys[0])
        if self._monotonic() >= self._next_purge_at:
            self._next_purge_at = self._monotonic() + PURGE_INTERVAL
            if self._store.leader_leases.acquire("retention"):
                self._purge()

    def _chain_pending(self, key: str) -> None:
        # many batches may take longer than a lease lasts: renew it for each
        while self._store.leader_leases.acquire("audit") and self._store.audit.chain_pending(key):
            pass

    def _purge(self) -> None:
        now = self._clock()
        # first: its operations would be missing otherwise
        while self._store.operations.bulk.purge(now - self._operation_retention):
            pass
        operations = 0
        while purged := self._store.operations.purge(now - self._operation_retention):
            operations += purged
        entries = self._store.audit.purge(now - self._audit_retention, self._read_audit_keys())
        if entries:
            # the next batch waits for the next run: a purge blocks other writers on SQLite
            self._next_purge_at = self._monotonic()
        vms = self._store.inventory.purge_deleted(now - DELETED_VM_RETENTION)
        events = self._purge_events()
        # entries of the audit trail name a token for as long
        tokens = self._store.api_tokens.purge(now - self._audit_retention)
        if operations or entries or vms or events or tokens:
            log.info(
                "purged expired rows",
                operations=operations,
                audit_entries=entries,
                vms=vms,
                events=events,
                api_tokens=tokens,
            )

    def _purge_events(self) -> int:
        # events have no sequence number, and so no age, before a stream reads them
        self._store.events.assign_sequences()
        events = 0
        while purged := self._store.events.purge(self._event_retention):
            events += purged
        return events
