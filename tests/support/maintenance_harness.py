"""A store, and who keeps it in order."""

from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from tests.support.audit_chain import SECRET
from tests.support.fake_clock import Clock
from tests.support.operation_factory import ANYTHING, Maker
from vmapi.domain.pagination import PageRequest
from vmapi.services.maintenance import Maintenance
from vmapi.store.database import Database
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.store import Store

DAY = timedelta(days=1)


class House:
    """A store, and who keeps it in order."""

    def __init__(self, key: str | None = SECRET) -> None:
        self.clock = Clock()
        self.monotonic = 1000.0
        self.store = Store(None, 4, self.clock)
        self.make = Maker(self.clock)
        self.keeper = Maintenance(
            self.store,
            audit_key=key,
            operation_retention=30 * DAY,
            audit_retention=365 * DAY,
            event_retention=DAY,
            clock=self.clock,
            monotonic=lambda: self.monotonic,
        )

    @property
    def database(self) -> Database:
        """What is kept."""
        return self.store.database

    def tick(self) -> list[Any]:
        """Let the keeper look, and return what it logs."""
        with capture_logs() as logs:
            self.keeper.run()
        return logs

    def other(self, duty: str) -> LeaderLeases:
        """Let another process have a duty."""
        duties = LeaderLeases(self.database)
        assert duties.acquire(duty)
        return duties

    def over(self, id: str) -> None:
        """Have an operation begun and ended."""
        self.store.operations.add(self.make(id, vm_id=id))
        self.store.operations.save(self.make.over(self.store.operations.get(id)))

    def kept(self) -> set[str]:
        """Return the operations that are kept."""
        return {
            each.id for each in self.store.operations.list_page(ANYTHING, PageRequest(1, 200)).items
        }
