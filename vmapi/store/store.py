"""Everything that is kept, in one database."""

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import structlog

from vmapi.domain.quota import NO_QUOTAS, Quotas
from vmapi.errors import StoreUnavailable

if TYPE_CHECKING:
    from vmapi.store.api_tokens import ApiTokenStore
    from vmapi.store.audit.trail import AuditTrail
    from vmapi.store.database import Database
    from vmapi.store.events import EventLog
    from vmapi.store.inventory.repository import Inventory
    from vmapi.store.leader_leases import Duties
    from vmapi.store.operations.bulk_requests import BulkRequests
    from vmapi.store.operations.repository import OperationStore
    from vmapi.store.signing_keys import Keys

log = structlog.get_logger("vmapi.store")


@dataclass(frozen=True, slots=True)
class Parts:
    """What is kept, by kind."""

    database: "Database"
    operations: "OperationStore"
    bulk_requests: "BulkRequests"
    inventory: "Inventory"
    audit: "AuditTrail"
    events: "EventLog"
    duties: "Duties"
    keys: "Keys"
    api_tokens: "ApiTokenStore"


class Store:
    """Opens its database on first use: SQLAlchemy takes a third of the time of a start.

    Without a URL it is a file that is gone with the process. `threads` sizes the pool, `keeps`
    says whether this process carries on what it has taken on. Any method may raise
    StoreUnavailable.
    """

    def __init__(
        self,
        url: str | None,
        threads: int,
        clock: Callable[[], datetime],
        *,
        keeps: bool = True,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self._url = url
        self._threads = threads
        self._clock = clock
        self._keeps = keeps
        self._quotas = quotas
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._remove: Callable[[], object] = lambda: None

    @property
    def operations(self) -> "OperationStore":
        """Changes, and how far they have come."""
        return self._opened().operations

    @property
    def bulk_requests(self) -> "BulkRequests":
        """Which VMs bulk requests were for."""
        return self._opened().bulk_requests

    @property
    def inventory(self) -> "Inventory":
        """The VMs as they were seen last."""
        return self._opened().inventory

    @property
    def audit(self) -> "AuditTrail":
        """Who has changed what."""
        return self._opened().audit

    @property
    def events(self) -> "EventLog":
        """What has happened."""
        return self._opened().events

    @property
    def duties(self) -> "Duties":
        """What one process does for all."""
        return self._opened().duties

    @property
    def keys(self) -> "Keys":
        """What all processes sign with."""
        return self._opened().keys

    @property
    def api_tokens(self) -> "ApiTokenStore":
        """API tokens, by their hashes."""
        return self._opened().api_tokens

    def upgrade(self) -> str:
        """Bring the schema up to date with this version; return what it is at."""
        from vmapi.store import schema

        schema.upgrade(self._opened().database)
        return schema.HEAD

    def ping(self) -> None:
        """Return when the database answers."""
        self._opened().database.ping()

    def close(self) -> None:
        """Leave what is unfinished to others, and close the connections; not used afterwards."""
        parts, self._parts = self._parts, None
        if parts is None:
            return
        try:
            parts.operations.close()
            parts.duties.close()
        except StoreUnavailable as away:
            log.warning("leases and duties are left to run out", reason=away.detail)
        finally:
            parts.database.close()
            self._remove()

    def _opened(self) -> Parts:
        if self._parts is None:
            with self._lock:
                self._parts = self._parts or self._open()
        return self._parts

    def _open(self) -> Parts:
        from vmapi.store import schema
        from vmapi.store.api_tokens import ApiTokenStore
        from vmapi.store.audit.trail import AuditTrail
        from vmapi.store.database import Database
        from vmapi.store.events import EventLog
        from vmapi.store.inventory.repository import Inventory
        from vmapi.store.leader_leases import Duties
        from vmapi.store.operations.bulk_requests import BulkRequests
        from vmapi.store.operations.repository import OperationStore
        from vmapi.store.signing_keys import Keys

        url = self._url
        if url is None:
            folder = mkdtemp(prefix="vmapi-")
            self._remove = weakref.finalize(self, rmtree, folder, ignore_errors=True)
            url = f"sqlite:///{folder}/vmapi.sqlite3"
        database = Database(url, self._threads, schema.prepare)
        operations = OperationStore(database, self._clock, keeps=self._keeps, quotas=self._quotas)
        return Parts(
            database,
            operations,
            BulkRequests(database, self._clock),
            Inventory(database),
            AuditTrail(database),
            EventLog(database),
            Duties(database),
            Keys(database),
            ApiTokenStore(database),
        )
