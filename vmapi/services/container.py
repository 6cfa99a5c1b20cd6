"""The container of the services: `vmapi.bootstrap` builds it, views and commands read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vmapi.auth.authenticator import Authenticator
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.concurrency.signal_flag import SignalFlag
from vmapi.services.access.api_tokens import ApiTokenService
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.services.catalog import Catalog
from vmapi.services.cursors import CursorSigner
from vmapi.services.events.feed import EventFeed
from vmapi.services.health import ReadinessChecks
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.operations.administrator import OperationAdministrator
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.periodic import PeriodicTask
from vmapi.services.quotas import QuotaService
from vmapi.services.vms.bulk import BulkService
from vmapi.services.vms.service import VMService
from vmapi.store.store import Store


class Engine(Protocol):
    """The part of the process that runs operations and periodic tasks in the background."""

    @property
    def queued_count(self) -> int:
        """The number of messages to workers that are not sent yet."""
        ...

    def notify(self, operation_id: str | None = None) -> None:
        """Scan for due operations at once."""
        ...

    def stop(self) -> None:
        """Finish the current steps, and stop."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one app."""

    backend: CircuitBreakerBackend
    catalog: Catalog
    vms: VMService
    bulk: BulkService
    observer: CloudObserver
    operations: OperationService
    operation_administrator: OperationAdministrator
    waiter: OperationWaiter
    cursors: CursorSigner
    events: EventFeed
    periodic_tasks: Mapping[str, PeriodicTask]
    engine: Engine
    store: Store
    authenticator: Authenticator
    api_tokens: ApiTokenService
    readiness: ReadinessChecks
    rate_limiter: RateLimiter
    draining: SignalFlag
    quotas: QuotaService
