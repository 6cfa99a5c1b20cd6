"""The store: all repositories of one database, opened on first use.

`bootstrap` creates the store, and services read the repositories from its properties. Opening waits
for the first use because the import of SQLAlchemy takes a third of the time of a start.
"""

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import structlog

from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.domain.quota import NO_QUOTAS, QuotaConfig
from vmapi.errors import StoreUnavailable

if TYPE_CHECKING:
    from vmapi.store.api_tokens import ApiTokenRepository
    from vmapi.store.audit.repository import AuditRepository
    from vmapi.store.database import Database
    from vmapi.store.events import EventLog
    from vmapi.store.inventory.repository import InventoryRepository
    from vmapi.store.leader_leases import LeaderLeases
    from vmapi.store.operations.repository import OperationRepository
    from vmapi.store.signing_keys import SigningKeys

log = structlog.get_logger("vmapi.store")


@dataclass(frozen=True, slots=True)
class Repositories:
    """The database and its repositories, by concern."""

    database: "Database"
    operations: "OperationRepository"
    inventory: "InventoryRepository"
    audit: "AuditRepository"
    events: "EventLog"
    leader_leases: "LeaderLeases"
    signing_keys: "SigningKeys"
    api_tokens: "ApiTokenRepository"


class Store:
    """The repositories of one database; any method may raise StoreUnavailable.

    Without a `url` the database is a temporary SQLite file that the process removes. `threads`
    sizes the connection pool. `renews_idle`: see OperationLeases.
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
        self._remove_file: Callable[[], object] = lambda: None

    @property
    def database(self) -> "Database":
        """The connections; for commands and tests."""
        return self._get_repositories().database

    @property
    def operations(self) -> "OperationRepository":
        """Operations and their progress."""
        return self._get_repositories().operations

    @property
    def inventory(self) -> "InventoryRepository":
        """The VMs as last observed."""
        return self._get_repositories().inventory

    @property
    def audit(self) -> "AuditRepository":
        """The audit trail."""
        return self._get_repositories().audit

    @property
    def events(self) -> "EventLog":
        """The event log."""
        return self._get_repositories().events

    @property
    def leader_leases(self) -> "LeaderLeases":
        """Leases of jobs that one process runs."""
        return self._get_repositories().leader_leases

    @property
    def signing_keys(self) -> "SigningKeys":
        """Signing keys that all processes share."""
        return self._get_repositories().signing_keys

    @property
    def api_tokens(self) -> "ApiTokenRepository":
        """API tokens, by their digests."""
        return self._get_repositories().api_tokens

    def upgrade(self) -> str:
        """Upgrade the schema and return its revision. Raises StoreUnavailable."""
        from vmapi.store import schema

        schema.upgrade(self.database)
        return schema.HEAD_REVISION

    def is_temporary(self) -> bool:
        """Return whether the database ends with the process: without a URL, or in memory."""
        from sqlalchemy import make_url

        from vmapi.store.sqlite_files import file_path

        if not self._url:
            return True
        url = make_url(self._url)
        return url.get_backend_name() == "sqlite" and file_path(url) is None

    def find_missing_file(self) -> Path | None:
        """Return the path of the SQLite file if it does not exist: the first use creates it."""
        from sqlalchemy import make_url

        from vmapi.store.sqlite_files import file_path

        path = file_path(make_url(self._url)) if self._url else None
        return path if path is not None and not path.exists() else None

    def ping(self) -> None:
        """Read from every table; after a failed write, write too. Raises StoreUnavailable."""
        self.database.ping()

    def close(self) -> None:
        """Release the leases and close the connections; the store is not used afterwards."""
        repositories, self._repositories = self._repositories, None
        if repositories is None:
            return
        try:
            repositories.operations.close()
            repositories.leader_leases.close()
        except StoreUnavailable as error:
            log.warning("leases not released, will expire", reason=error.detail)
        finally:
            repositories.inventory.close()
            repositories.database.close()
            self._remove_file()

    def _get_repositories(self) -> Repositories:
        if self._repositories is None:
            # the import of SQLAlchemy takes tenths of a second, the first connection even more
            raise_if_nonblocking()
            with self._lock:
                self._repositories = self._repositories or self._open()
        return self._repositories

    def _open(self) -> Repositories:
        from vmapi.store import schema
        from vmapi.store.api_tokens import ApiTokenRepository
        from vmapi.store.audit.repository import AuditRepository
        from vmapi.store.database import Database
        from vmapi.store.events import EventLog
        from vmapi.store.inventory.repository import InventoryRepository
        from vmapi.store.leader_leases import LeaderLeases
        from vmapi.store.lease_heartbeat import LeaseHeartbeat
        from vmapi.store.operations.repository import OperationRepository
        from vmapi.store.signing_keys import SigningKeys

        url = self._url or self._temporary_url()
        database = Database(url, self._threads, schema.ensure_current, temporary=not self._url)
        heartbeat = LeaseHeartbeat()
        options: Any = {"renews_idle": self._renews_idle, "quotas": self._quotas}
        return Repositories(
            database,
            OperationRepository(database, self._clock, heartbeat=heartbeat, **options),
            InventoryRepository(database),
            AuditRepository(database),
            EventLog(database),
            LeaderLeases(database, heartbeat),
            SigningKeys(database),
            ApiTokenRepository(database),
        )

    def _temporary_url(self) -> str:
        folder = mkdtemp(prefix="vmapi-")
        self._remove_file = weakref.finalize(self, rmtree, folder, ignore_errors=True)
        return f"sqlite:///{folder}/vmapi.sqlite3"
