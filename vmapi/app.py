"""The composition root: the one file that knows every layer."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from vmapi.api.middleware import authentication as access
from vmapi.api.middleware import cors
from vmapi.api.middleware import csrf as browsers
from vmapi.api.middleware import rate_limits as throttle
from vmapi.api.middleware import security_headers as headers
from vmapi.api.middleware import single_process as one_process
from vmapi.api.openapi.document import Api
from vmapi.api.problems import responses as problems
from vmapi.api.request import context
from vmapi.api.views import docs
from vmapi.api.views import registry as endpoints
from vmapi.auth import factory as configured
from vmapi.backends import registry
from vmapi.backends.base import Backend
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.cli import commands as cli
from vmapi.domain.operation import Operation
from vmapi.engine.external import ExternalEngine
from vmapi.engine.thread import EngineThread
from vmapi.errors import VmapiError
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
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.periodic import PeriodicTask
from vmapi.services.quotas import QuotaService
from vmapi.services.reconciler.poller import OperationPoller
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.services.vms.bulk import BulkService
from vmapi.services.vms.duplicates import DuplicateCleaner
from vmapi.services.vms.service import VMService
from vmapi.settings import checks
from vmapi.settings.settings import Settings
from vmapi.store.store import Store
from vmapi.telemetry import logging

DEFAULT_DATABASE_URL = "sqlite:///instance/vmapi.sqlite3"
"""Where a real cloud's operations are kept unless the settings say otherwise."""

MAX_BODY_BYTES = 1024 * 1024
"""Bytes: twice what the largest VM that may be asked for takes in JSON."""


def create_app(settings: Settings | None = None, backend: Backend | None = None) -> Flask:
    """Make the app. Nothing is connected or started before the first request.

    Raises SettingsError.
    """
    settings = settings or Settings.load()
    logging.configure(settings.log_level)
    backend = backend or registry.create_backend(settings)
    app = Flask("vmapi", static_folder=None)
    # //vms is no URL of ours, and no redirect is a problem+json
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["SETTINGS"] = settings
    app.extensions["vmapi"] = bootstrap(settings, backend)
    api = Api(app)
    endpoints.register_blueprints(api, f"/api/{settings.api_version}")
    docs.init_app(app, api)
    context.init_app(app)
    headers.init_app(app)
    cors.init_app(app, settings.cors_origins)
    throttle.addresses(app)
    # an address that guesses tokens is limited before, a caller that may not is limited too
    access.ask(app)
    # before a page has used up the rate of all who are anonymous here
    browsers.init_app(app, settings)
    throttle.callers(app)
    access.permit(app)
    if settings.proxies:
        # what they append to X-Forwarded-For is believed, what came before is not
        proxied = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0, x_host=0)
        app.wsgi_app = proxied  # type: ignore[method-assign]
    if backend.single_process:
        one_process.check(app, settings)
    checks.validate(settings, single_process=backend.single_process)
    configured.warn_if_anonymous(settings)
    app.register_error_handler(VmapiError, problems.problem_response)
    app.register_error_handler(HTTPException, problems.http_exception_response)
    app.register_error_handler(Exception, problems.internal_error_response)
    cli.init_app(app)
    return app


def bootstrap(
    settings: Settings, driver: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Services:
    """Put the layers together."""
    backend = CircuitBreakerBackend(driver)
    draining = threading.Event()
    url = settings.database_url or (None if backend.single_process else DEFAULT_DATABASE_URL)
    engine = _build_engine(settings)
    rules, keeps = settings.quotas, isinstance(engine, EngineThread)
    store = Store(url, settings.threads, clock, renews_idle=keeps, quotas=rules)
    looks = CloudObserver(backend, store, clock)
    controller = Reconciler(
        backend,
        looks,
        store,
        clock=clock,
        response_timeout=settings.backend_timeout,
        deadlines=settings.deadlines,
    )

    def look_up(operation_id: str) -> Operation:
        return store.operations.get(operation_id)

    waiting = OperationWaiter(
        look_up, settings.wait_slots, settings.wait_slots_per_caller, draining.is_set
    )
    work = OperationService(
        store, controller, waiting, OperationPoller(looks, time.monotonic), engine.notify
    )
    shelf = Catalog(backend)
    view = InventoryReader(backend, store, looks, clock)
    usage = QuotaService(view, store, rules)
    submission = OperationSubmitter(backend, store, work, view, waiting, clock=clock)
    use_cases = VMService(backend, shelf, view, submission, usage)
    chores = {"housekeeping": PeriodicTask(_build_maintenance(settings, store, clock).run)}
    if not backend.completes_immediately:
        tidy = DuplicateCleaner(store, use_cases).delete_duplicates
        sync = InventorySync(
            looks, store, on_full_sync=tidy, clock=backend.cloud_time, monotonic=time.monotonic
        )
        chores |= sync.tasks
    if isinstance(engine, EngineThread):
        engine.configure(work, chores)
    tokens = ApiTokenService(store, clock)
    return Services(
        base_path=f"/api/{settings.api_version}",
        version=settings.api_version,
        backend=backend,
        catalog=shelf,
        vms=use_cases,
        bulk=BulkService(view, submission, store),
        operations=work,
        cursors=CursorSigner(lambda: store.signing_keys.get("cursor"), clock),
        events=_build_event_feed(settings, store, waiting, draining),
        periodic_tasks=chores,
        engine=engine,
        store=store,
        authenticator=configured.build_authenticator(
            settings, tokens.find, tokens.record_use, clock
        ),
        api_tokens=tokens,
        rate_limiter=RateLimiter.from_settings(settings),
        readiness=ReadinessChecks(backend, store, time.monotonic),
        draining=draining,
        quotas=usage,
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
    settings: Settings, store: Store, waiting: OperationWaiter, draining: threading.Event
) -> EventFeed:
    most = min(settings.event_streams, settings.wait_slots)
    seats = StreamSlots(waiting.slots, most, settings.caller_streams)
    return EventFeed(lambda: store.events, seats, draining.is_set)


def _build_engine(settings: Settings) -> Engine:
    if settings.engine == "thread":
        return EngineThread()
    if settings.engine == "worker":
        return ExternalEngine()
    # Celery is loaded only where it is asked for
    from vmapi.engine.celery_notifier import CeleryNotifier

    return CeleryNotifier(settings.broker_url)
