"""The store: all repositories of one database, opened on first use.

`bootstrap` creates the store, and services read the repositories from its properties. Opening waits
for the first use because the import of SQLAlchemy takes a third of the time of a start.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    from vmapi.store.database import Database, PoolUsage
    from vmapi.store.events import EventLog
    from vmapi.store.inventory.repository import InventoryRepository
    from vmapi.store.leader_leases import LeaderLeases
    from vmapi.store.operations.administration import OperationAdministration
    from vmapi.store.operations.repository import OperationRepository
    from vmapi.store.signing_keys import SigningKeys
    from vmapi.store.statistics import StoreStatistics

log = structlog.get_logger("vmapi.store")


@dataclass(frozen=True, slots=True)
class Repositories:
    """The database and its repositories, by concern."""

    database: "Database"
    operations: "OperationRepository"
    operation_administration: "OperationAdministration"
    inventory: "InventoryRepository"
    audit: "AuditRepository"
    events: "EventLog"
    leader_leases: "LeaderLeases"
    signing_keys: "SigningKeys"
    api_tokens: "ApiTokenRepository"
    statistics: "StoreStatistics"


class Store:
    """The repositories of one database; any method may raise StoreUnavailable.

    Without a `url` the database is a temporary SQLite file that the process removes. `threads`
    sizes the connection pool. `renews_idle`: see OperationLeases. `read_url`: see Database.
    """

    def __init__(
        self,
        url: str | None,
        threads: int,
        clock: Callable[[], datetime],
        *,
        renews_idle: bool = True,
        quotas: QuotaConfig = NO_QUOTAS,
        read_url: Callable[[], str | None] | None = None,
    ) -> None:
        self._url = url
        self._threads = threads
        self._clock = clock
        self._renews_idle = renews_idle
        self._quotas = quotas
        self._read_url = read_url
        self._lock = threading.Lock()
        self._repositories: Repositories | None = None
        self._remove_file: Callable[[], object] = lambda: None
        self._is_claimed = url is None

    @property
    def database(self) -> "Database":
        """The connections; for commands and tests."""
        return self._get_repositories().database

    @property
    def operations(self) -> "OperationRepository":
        """Operations and their progress."""
        return self._get_repositories().operations

    @property
    def operation_administration(self) -> "OperationAdministration":
        """Operations as operators see and end them."""
        return self._get_repositories().operation_administration

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

    @property
    def statistics(self) -> "StoreStatistics":
        """Counts of all rows, for operators."""
        return self._get_repositories().statistics

    def pool_usage(self) -> "PoolUsage | None":
        """Return the connections in use; None while the database is not open."""
        repositories = self._repositories
        return repositories.database.pool_usage() if repositories else None

    def claim(self) -> None:
        """Claim the SQLite file for the server of this process. Raises StoreUnavailable."""
        if self._is_claimed:
            return
        # the import of SQLAlchemy waits, and so may the disk
        raise_if_nonblocking()
        from vmapi.store.connections.claims import claim

        self._is_claimed = claim(self._url or "")

    def upgrade(self) -> str:
        """Upgrade the schema and return its revision. Raises StoreUnavailable."""
        from vmapi.store import schema

        return schema.upgrade(self.database)

    def contract(self) -> str:
        """Remove what older code needs; return the oldest revision that may serve.

        Raises StoreUnavailable.
        """
        from vmapi.store import schema

        return schema.contract(self.database)

    @contextmanager
    def opened_as_is(self) -> "Iterator[Database]":
        """Open the database in another pool, without an upgrade or a check of its schema."""
        from vmapi.store.database import Database

        database = Database(self._url or "", 1, lambda _: None)
        try:
            yield database
        finally:
            database.close()

    def is_temporary(self) -> bool:
        """Return whether the database ends with the process: without a URL, or in memory."""
        from sqlalchemy import make_url

        from vmapi.store.connections.sqlite_files import file_path

        if not self._url:
            return True
        url = make_url(self._url)
        return url.get_backend_name() == "sqlite" and file_path(url) is None

    def find_missing_file(self) -> Path | None:
        """Return the path of the SQLite file if it is missing or empty: the first use creates it.

        A file that the system hides counts as present: its first use has the reason.
        """
        from sqlalchemy import make_url

        from vmapi.store.connections.sqlite_files import file_path

        path = file_path(make_url(self._url)) if self._url else None
        try:
            return path if path is not None and path.stat().st_size == 0 else None
        except (FileNotFoundError, NotADirectoryError):
            return path
        except OSError:
            return None

    def check_creatable(self) -> None:
        """Raise StoreUnavailable if a missing SQLite file was deleted, or cannot be created."""
        from vmapi.store.connections.missing_file import check_creatable

        if path := self.find_missing_file():
            check_creatable(path)

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

    def _open_database(self) -> "Database":
        from vmapi.store import schema
        from vmapi.store.database import Database

        return Database(
            self._url or self._temporary_url(),
            self._threads,
            schema.ensure_current,
            temporary=not self._url,
            read_url=self._read_url,
        )

    def _open(self) -> Repositories:
        from vmapi.store.api_tokens import ApiTokenRepository
        from vmapi.store.audit.repository import AuditRepository
        from vmapi.store.events import EventLog
        from vmapi.store.inventory.repository import InventoryRepository
        from vmapi.store.leader_leases import LeaderLeases
        from vmapi.store.lease_heartbeat import LeaseHeartbeat
        from vmapi.store.operations.administration import OperationAdministration
        from vmapi.store.operations.repository import OperationRepository
        from vmapi.store.signing_keys import SigningKeys
        from vmapi.store.statistics import StoreStatistics

        database = self._open_database()
        heartbeat = LeaseHeartbeat()
        options: Any = {"renews_idle": self._renews_idle, "quotas": self._quotas}
        return Repositories(
            database,
            OperationRepository(database, self._clock, heartbeat=heartbeat, **options),
            OperationAdministration(database),
            InventoryRepository(database),
            AuditRepository(database),
            EventLog(database),
            LeaderLeases(database, heartbeat),
            SigningKeys(database),
            ApiTokenRepository(database),
            StoreStatistics(database),
        )

    def _temporary_url(self) -> str:
        folder = mkdtemp(prefix="vmapi-")
        self._remove_file = weakref.finalize(self, rmtree, folder, ignore_errors=True)
        return f"sqlite:///{folder}/vmapi.sqlite3"
