"""A store with its maintenance, on fake clocks."""

from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from tests.support.audit_chain import AUDIT_KEY
from tests.support.fake_clock import Clock
from tests.support.operation_factory import ALL_OPERATIONS, OperationFactory
from vmapi.domain.pagination import PageRequest
from vmapi.services.maintenance import Maintenance
from vmapi.store.database import Database
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.store import Store

DAY = timedelta(days=1)


class MaintenanceHarness:
    """A store with its maintenance, on fake clocks."""

    def __init__(self, key: str | None = AUDIT_KEY) -> None:
        self.clock = Clock()
        self.monotonic = 1000.0
        self.store = Store(None, 4, self.clock)
        self.new_operation = OperationFactory(self.clock)
        self.maintenance = Maintenance(
            self.store,
            read_audit_keys=lambda: [key] if key else [],
            operation_retention=30 * DAY,
            audit_retention=365 * DAY,
            event_retention=DAY,
            clock=self.clock,
            monotonic=lambda: self.monotonic,
        )

    @property
    def database(self) -> Database:
        """The database of the store."""
        return self.store.database

    def run(self) -> list[Any]:
        """Run the maintenance once, and return its log lines."""
        with capture_logs() as logs:
            self.maintenance.run()
        return logs

    def acquire_elsewhere(self, name: str) -> LeaderLeases:
        """Acquire a leader lease for another process."""
        leases = LeaderLeases(self.database)
        assert leases.acquire(name)
        return leases

    def add_finished(self, id: str) -> None:
        """Add an operation that is finished."""
        self.store.operations.add(self.new_operation(id, vm_id=id))
        operation = self.store.operations.get(id)
        self.store.operations.save(self.new_operation.finished(operation))

    def operation_ids(self) -> set[str]:
        """Return the ids of the operations in the store."""
        page = self.store.operations.list_page(ALL_OPERATIONS, PageRequest(1, 200))
        return {operation.id for operation in page.items}
