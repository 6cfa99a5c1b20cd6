"""The composition root: build the services of one process and connect them.

`create_app` calls `bootstrap` once. Services get their dependencies as constructor arguments; no
other module builds one.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from vmapi.auth.factory import build_authenticator
from vmapi.backends.base import Backend
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.domain.operation import Operation
from vmapi.engine.external import ExternalEngine
from vmapi.engine.thread import EngineThread
from vmapi.services.access.api_tokens import ApiTokenService
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.services.catalog import Catalog
from vmapi.services.container import Engine, Services
from vmapi.services.cursors import CursorSigner
from vmapi.services.events.feed import EventFeed
from vmapi.services.events.slots import StreamSlots
from vmapi.services.health import ReadinessChecks
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.inventory.reader import InventoryReader
from vmapi.services.inventory.sync import InventorySync
from vmapi.services.maintenance import Maintenance
from vmapi.services.operations.idempotency import IdempotencyService
from vmapi.services.operations.results import ChangeResultBuilder
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.periodic import PeriodicTask
from vmapi.services.quotas import QuotaService
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


def bootstrap(
    settings: Settings, driver: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Services:
    """Build the services of one process. It opens no connection and starts no thread.

    Raises SettingsError.
    """
    backend = CircuitBreakerBackend(driver, settings.threads)
    draining = threading.Event()
    engine = _build_engine(settings)
    store = _build_store(settings, backend, engine, clock)
    observer = CloudObserver(backend, store, clock)
    reader = InventoryReader(backend, store, observer, clock)
    quotas = QuotaService(backend, reader, lambda: store.inventory, settings.quotas)
    waiter = _build_waiter(settings, store, draining)
    reconciler = Reconciler(
        backend,
        observer,
        store,
        clock=clock,
        response_timeout=settings.backend_timeout,
        deadlines=settings.deadlines,
        notify_engine=engine.notify,
    )
    poller = OperationPoller(observer, time.monotonic)
    operations = OperationService(store, reconciler, waiter, poller, engine.notify)
    idempotency = _build_idempotency(
        backend,
        store,
        reader,
        reconciler=reconciler,
        waiter=waiter,
        clock=clock,
        response_timeout=settings.backend_timeout,
    )
    catalog = Catalog(backend)
    vms = VMService(backend, catalog, reader, idempotency, quotas, clock=clock)
    tasks = {"maintenance": PeriodicTask(_build_maintenance(settings, store, clock).run)}
    if not backend.completes_immediately:
        timeout = settings.backend_timeout
        sync = _build_sync(backend, store, observer, vms, response_timeout=timeout, clock=clock)
        tasks |= sync.tasks
    if isinstance(engine, EngineThread):
        engine.configure(operations, tasks)
    tokens = ApiTokenService(lambda: store.api_tokens, clock)
    return Services(
        base_path=f"/api/{settings.api_version}",
        version=settings.api_version,
        backend=backend,
        catalog=catalog,
        vms=vms,
        bulk=BulkService(backend, reader, operations, store, clock),
        operations=operations,
        waiter=waiter,
        cursors=CursorSigner(lambda: store.signing_keys.get("cursor"), clock),
        events=_build_event_feed(settings, store, waiter, draining),
        periodic_tasks=tasks,
        engine=engine,
        store=store,
        authenticator=build_authenticator(
            settings,
            tokens.find_by_digest,
            tokens.record_use,
            clock,
            cloud_tls=backend.identity_tls,
        ),
        api_tokens=tokens,
        rate_limiter=RateLimiter.from_settings(settings),
        readiness=ReadinessChecks(backend.ping, store.ping, time.monotonic),
        draining=draining,
        quotas=quotas,
    )


def _build_store(
    settings: Settings, backend: Backend, engine: Engine, clock: Callable[[], datetime]
) -> Store:
    default_url = None if backend.single_process else DEFAULT_DATABASE_URL
    return Store(
        settings.database_url or default_url,
        settings.threads,
        clock,
        renews_idle=isinstance(engine, EngineThread),
        quotas=settings.quotas,
    )


def _build_waiter(settings: Settings, store: Store, draining: threading.Event) -> OperationWaiter:
    def get_operation(operation_id: str) -> Operation:
        return store.operations.get(operation_id)

    return OperationWaiter(
        get_operation, settings.wait_slots, settings.wait_slots_per_caller, draining.is_set
    )


def _build_idempotency(
    backend: Backend,
    store: Store,
    reader: InventoryReader,
    *,
    reconciler: Reconciler,
    waiter: OperationWaiter,
    clock: Callable[[], datetime],
    response_timeout: float,
) -> IdempotencyService:
    results = ChangeResultBuilder(reader)
    submitter = OperationSubmitter(
        backend,
        store,
        reconciler=reconciler,
        reader=reader,
        waiter=waiter,
        results=results,
        clock=clock,
        create_window=lambda: create_window(response_timeout, backend.cloud_time() - clock()),
    )
    return IdempotencyService(store, submitter, waiter, results)


def _build_sync(
    backend: Backend,
    store: Store,
    observer: CloudObserver,
    vms: VMService,
    *,
    response_timeout: float,
    clock: Callable[[], datetime],
) -> InventorySync:
    cleaner = DuplicateCleaner(
        store, vms, clock=clock, cloud_clock=backend.cloud_time, response_timeout=response_timeout
    )
    return InventorySync(
        observer,
        store,
        on_full_sync=cleaner.delete_duplicates,
        clock=backend.cloud_time,
        monotonic=time.monotonic,
    )


def _build_maintenance(
    settings: Settings, store: Store, clock: Callable[[], datetime]
) -> Maintenance:
    return Maintenance(
        store,
        audit_key=settings.audit_key,
        operation_retention=settings.retention,
        audit_retention=settings.audit_retention,
        event_retention=settings.event_retention,
        clock=clock,
        monotonic=time.monotonic,
    )


def _build_event_feed(
    settings: Settings, store: Store, waiter: OperationWaiter, draining: threading.Event
) -> EventFeed:
    slots = StreamSlots(
        settings.event_streams, settings.caller_streams, waiter.slots, settings.wait_slots
    )
    return EventFeed(lambda: store.events, slots, draining.is_set)


def _build_engine(settings: Settings) -> Engine:
    if settings.engine == "thread":
        return EngineThread()
    if settings.engine == "worker":
        return ExternalEngine()
    # Celery is loaded only where it is asked for
    from vmapi.engine.celery_notifier import CeleryNotifier

    return CeleryNotifier(settings.broker_url)
