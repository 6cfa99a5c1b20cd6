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

from vmapi.domain.quota import NO_QUOTAS, QuotaConfig
from vmapi.errors import StoreUnavailable

if TYPE_CHECKING:
    from vmapi.store.api_tokens import ApiTokenRepository
    from vmapi.store.audit.trail import AuditRepository
    from vmapi.store.database import Database
    from vmapi.store.events import EventLog
    from vmapi.store.inventory.repository import InventoryRepository
    from vmapi.store.leader_leases import LeaderLeases
    from vmapi.store.operations.bulk_requests import BulkRequestRepository
    from vmapi.store.operations.repository import OperationRepository
    from vmapi.store.signing_keys import SigningKeys

log = structlog.get_logger("vmapi.store")


@dataclass(frozen=True, slots=True)
class Repositories:
    """What is kept, by kind."""

    database: "Database"
    operations: "OperationRepository"
    bulk_requests: "BulkRequestRepository"
    inventory: "InventoryRepository"
    audit: "AuditRepository"
    events: "EventLog"
    leader_leases: "LeaderLeases"
    signing_keys: "SigningKeys"
    api_tokens: "ApiTokenRepository"


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
        renews_idle: bool = True,
        quotas: QuotaConfig = NO_QUOTAS,
    ) -> None:
        self._url = url
        self._threads = threads
        self._clock = clock
        self._renews_idle = renews_idle
        self._quotas = quotas
        self._lock = threading.Lock()
        self._repositories: Repositories | None = None
        self._remove: Callable[[], object] = lambda: None

    @property
    def database(self) -> "Database":
        """The connections; for commands and tests."""
        return self._get_repositories().database

    @property
    def operations(self) -> "OperationRepository":
        """Changes, and how far they have come."""
        return self._get_repositories().operations

    @property
    def bulk_requests(self) -> "BulkRequestRepository":
        """Which VMs bulk requests were for."""
        return self._get_repositories().bulk_requests

    @property
    def inventory(self) -> "InventoryRepository":
        """The VMs as they were seen last."""
        return self._get_repositories().inventory

    @property
    def audit(self) -> "AuditRepository":
        """Who has changed what."""
        return self._get_repositories().audit

    @property
    def events(self) -> "EventLog":
        """What has happened."""
        return self._get_repositories().events

    @property
    def leader_leases(self) -> "LeaderLeases":
        """What one process does for all."""
        return self._get_repositories().leader_leases

    @property
    def signing_keys(self) -> "SigningKeys":
        """What all processes sign with."""
        return self._get_repositories().signing_keys

    @property
    def api_tokens(self) -> "ApiTokenRepository":
        """API tokens, by their hashes."""
        return self._get_repositories().api_tokens

    def upgrade(self) -> str:
        """Bring the schema up to date with this version; return what it is at."""
        from vmapi.store import schema

        schema.upgrade(self._get_repositories().database)
        return schema.HEAD_REVISION

    def ping(self) -> None:
        """Return when the database answers."""
        self._get_repositories().database.ping()

    def close(self) -> None:
        """Leave what is unfinished to others, and close the connections; not used afterwards."""
        parts, self._repositories = self._repositories, None
        if parts is None:
            return
        try:
            parts.operations.close()
            parts.leader_leases.close()
        except StoreUnavailable as away:
            log.warning("leases and duties are left to run out", reason=away.detail)
        finally:
            parts.database.close()
            self._remove()

    def _get_repositories(self) -> Repositories:
        if self._repositories is None:
            with self._lock:
                self._repositories = self._repositories or self._open()
        return self._repositories

    def _open(self) -> Repositories:
        from vmapi.store import schema
        from vmapi.store.api_tokens import ApiTokenRepository
        from vmapi.store.audit.trail import AuditRepository
        from vmapi.store.database import Database
        from vmapi.store.events import EventLog
        from vmapi.store.inventory.repository import InventoryRepository
        from vmapi.store.leader_leases import LeaderLeases
        from vmapi.store.operations.bulk_requests import BulkRequestRepository
        from vmapi.store.operations.repository import OperationRepository
        from vmapi.store.signing_keys import SigningKeys

        url = self._url
        if url is None:
            folder = mkdtemp(prefix="vmapi-")
            self._remove = weakref.finalize(self, rmtree, folder, ignore_errors=True)
            url = f"sqlite:///{folder}/vmapi.sqlite3"
        database = Database(url, self._threads, schema.ensure_current)
        operations = OperationRepository(
            database, self._clock, renews_idle=self._renews_idle, quotas=self._quotas
        )
        return Repositories(
            database,
            operations,
            BulkRequestRepository(database, self._clock),
            InventoryRepository(database),
            AuditRepository(database),
            EventLog(database),
            LeaderLeases(database),
            SigningKeys(database),
            ApiTokenRepository(database),
        )
