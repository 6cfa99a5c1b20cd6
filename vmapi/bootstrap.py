"""The composition root: build the services of one process and connect them.

`create_app` calls `bootstrap` once. Services get their dependencies as constructor arguments; no
other module builds one. Each property of `_Wiring` builds one service on its first use, after the
services that it needs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial

from vmapi.auth.authenticator import Authenticator
from vmapi.auth.factory import build_authenticator
from vmapi.backends.base import Backend
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.concurrency.signal_flag import SignalFlag
from vmapi.domain.operation import Operation
from vmapi.engine.external import ExternalEngine
from vmapi.engine.thread import EngineThread
from vmapi.errors import VmapiError
from vmapi.services.access.api_tokens import ApiTokenService
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.services.catalog import Catalog
from vmapi.services.container import Engine, Services
from vmapi.services.cursors import CURSOR_KEY_NAME, CursorSigner
from vmapi.services.events.feed import EventFeed
from vmapi.services.events.slots import StreamSlots
from vmapi.services.health import ReadinessChecks
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.inventory.reader import InventoryReader
from vmapi.services.inventory.sync import InventorySync
from vmapi.services.maintenance import Maintenance
from vmapi.services.operations.administrator import OperationAdministrator
from vmapi.services.operations.idempotency import IdempotencyService
from vmapi.services.operations.results import ChangeResultBuilder
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.periodic import PeriodicTask
from vmapi.services.quotas import QuotaService
from vmapi.services.reconciler.defects import DefectLimiter
from vmapi.services.reconciler.poller import OperationPoller
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.services.reconciler.recovery import create_window
from vmapi.services.vms.bulk import BulkService
from vmapi.services.vms.duplicates import DuplicateCleaner
from vmapi.services.vms.service import VMService
from vmapi.settings.settings import Settings
from vmapi.store.store import Store

DEFAULT_DATABASE_URL = "sqlite:///instance/vmapi.sqlite3"
"""The database of a real cloud unless `VMAPI_DATABASE_URL` names another."""

SYSTEM_CLOCK = partial(datetime.now, UTC)
"""The clock of this machine."""


def bootstrap(
    settings: Settings, driver: Backend, clock: Callable[[], datetime] = SYSTEM_CLOCK
) -> Services:
    """Build the services of one process. It opens no connection and starts no thread.

    Raises SettingsError.
    """
    wiring = _Wiring(settings, driver, clock)
    wiring.connect_engine()
    return Services(
        backend=wiring.backend,
        catalog=wiring.catalog,
        vms=wiring.vms,
        bulk=wiring.bulk,
        observer=wiring.observer,
        operations=wiring.operations,
        operation_administrator=wiring.operation_administrator,
        waiter=wiring.waiter,
        cursors=wiring.cursors,
        events=wiring.events,
        periodic_tasks=wiring.periodic_tasks,
        engine=wiring.engine,
        store=wiring.store,
        authenticator=wiring.authenticator,
        api_tokens=wiring.api_tokens,
        rate_limiter=RateLimiter.from_settings(settings),
        readiness=wiring.readiness,
        draining=wiring.draining,
        quotas=wiring.quotas,
    )


class _Wiring:
    """The services of one process, each built on its first use."""

    def __init__(self, settings: Settings, driver: Backend, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self.backend = CircuitBreakerBackend(driver, settings.threads)
        self.draining = SignalFlag()

    # The database, and the thread or process that runs operations

    @cached_property
    def engine(self) -> Engine:
        if self._settings.engine == "thread":
            return EngineThread()
        if self._settings.engine == "worker":
            return ExternalEngine()
        # Celery is loaded only where it is asked for
        from vmapi.engine.celery_notifier import CeleryNotifier

        return CeleryNotifier(self._settings.broker_url)

    def connect_engine(self) -> None:
        """Let the engine of this process run its operations and periodic tasks."""
        if isinstance(self.engine, EngineThread):
            self.engine.configure(self.operations, self.periodic_tasks)

    @cached_property
    def store(self) -> Store:
        default_url = None if self.backend.single_process else DEFAULT_DATABASE_URL
        return Store(
            self._settings.database_url or default_url,
            self._settings.threads,
            self._clock,
            renews_idle=isinstance(self.engine, EngineThread),
            quotas=self._settings.quotas,
            read_url=partial(self._settings.reread, "database_url"),
        )

    # Reads

    @cached_property
    def observer(self) -> CloudObserver:
        return CloudObserver(self.backend, self.store, self._clock)

    @cached_property
    def reader(self) -> InventoryReader:
        return InventoryReader(self.backend, self.store, self.observer, self._clock)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.backend)

    @cached_property
    def quotas(self) -> QuotaService:
        return QuotaService(self.backend, self.reader, self.store, self._settings.quotas)

    @cached_property
    def cursors(self) -> CursorSigner:
        return CursorSigner(
            lambda: self.store.signing_keys.get(CURSOR_KEY_NAME),
            self._clock,
            lambda: self.store.signing_keys.read(CURSOR_KEY_NAME),
        )

    @cached_property
    def events(self) -> EventFeed:
        slots = StreamSlots(
            self._settings.event_streams,
            self._settings.caller_streams,
            self.waiter.slots,
            self._settings.wait_slots,
        )
        return EventFeed(lambda: self.store.events, slots, self.draining.is_set)

    @cached_property
    def readiness(self) -> ReadinessChecks:
        return ReadinessChecks(self.backend.ping, self.store.ping, time.monotonic)

    # Callers

    @cached_property
    def api_tokens(self) -> ApiTokenService:
        return ApiTokenService(lambda: self.store.api_tokens, self._clock)

    @cached_property
    def authenticator(self) -> Authenticator:
        return build_authenticator(
            self._settings,
            self.api_tokens.find_by_digest,
            self.api_tokens.record_use,
            self._clock,
            cloud_tls=self.backend.identity_tls,
        )

    # Changes

    @cached_property
    def waiter(self) -> OperationWaiter:
        return OperationWaiter(
            self._get_operation,
            self._settings.wait_slots,
            self._settings.wait_slots_per_caller,
            self.draining.is_set,
        )

    def _get_operation(self, operation_id: str) -> Operation:
        return self.store.operations.get(operation_id)

    @cached_property
    def reconciler(self) -> Reconciler:
        return Reconciler(
            self.backend,
            self.observer,
            self.store,
            clock=self._clock,
            response_timeout=self._settings.backend_timeout,
            deadlines=self._settings.deadlines,
            notify_engine=self.engine.notify,
        )

    @cached_property
    def operations(self) -> OperationService:
        poller = OperationPoller(self.observer, time.monotonic, self._record_failure)
        limiter = DefectLimiter(
            self.store, self.observer, self._clock, self._settings.backend_timeout
        )
        return OperationService(
            self.store,
            self.reconciler,
            self.waiter,
            poller,
            defect_limiter=limiter,
            notify_engine=self.engine.notify,
        )

    def _record_failure(self, operations: Sequence[Operation], error: VmapiError) -> None:
        self.store.operation_administration.record_failure(operations, error)

    @cached_property
    def operation_administrator(self) -> OperationAdministrator:
        return OperationAdministrator(self.store, self._clock, self._settings.backend_timeout)

    @cached_property
    def idempotency(self) -> IdempotencyService:
        results = ChangeResultBuilder(self.reader)
        submitter = OperationSubmitter(
            self.backend,
            self.store,
            reconciler=self.reconciler,
            reader=self.reader,
            waiter=self.waiter,
            results=results,
            clock=self._clock,
            create_window=lambda: create_window(
                self._settings.backend_timeout, self.backend.cloud_time() - self._clock()
            ),
        )
        return IdempotencyService(self.store, submitter, self.waiter, results)

    @cached_property
    def vms(self) -> VMService:
        return VMService(
            self.backend,
            self.catalog,
            self.reader,
            self.idempotency,
            self.quotas,
            clock=self._clock,
        )

    @cached_property
    def bulk(self) -> BulkService:
        return BulkService(self.backend, self.reader, self.operations, self.store, self._clock)

    # Periodic tasks

    @cached_property
    def periodic_tasks(self) -> Mapping[str, PeriodicTask]:
        tasks = {"maintenance": PeriodicTask(self.maintenance.run)}
        return tasks if self.backend.completes_immediately else {**tasks, **self.sync.tasks}

    @cached_property
    def maintenance(self) -> Maintenance:
        return Maintenance(
            self.store,
            read_audit_keys=self._settings.read_audit_keys,
            operation_retention=self._settings.retention,
            audit_retention=self._settings.audit_retention,
            event_retention=self._settings.event_retention,
            clock=self._clock,
            monotonic=time.monotonic,
        )

    @cached_property
    def sync(self) -> InventorySync:
        cleaner = DuplicateCleaner(
            self.store,
            self.vms,
            clock=self._clock,
            cloud_clock=self.backend.cloud_time,
            response_timeout=self._settings.backend_timeout,
        )
        return InventorySync(
            self.observer,
            self.store,
            on_full_sync=cleaner.delete_duplicates,
            clock=self.backend.cloud_time,
            monotonic=time.monotonic,
        )
