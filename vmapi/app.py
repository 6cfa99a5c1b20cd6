"""The composition root: the one file that knows every layer."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

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
from vmapi.backends.breaker_backend import Guarded
from vmapi.cli import commands as cli
from vmapi.domain.operation import Operation
from vmapi.engine.external import Elsewhere
from vmapi.engine.thread import EngineThread
from vmapi.errors import VmapiError
from vmapi.services.access.api_tokens import Tokens
from vmapi.services.access.rate_limits import Rates
from vmapi.services.catalog import Catalog
from vmapi.services.container import Runner, Services
from vmapi.services.cursors import Cursors
from vmapi.services.events.feed import Events
from vmapi.services.events.slots import Seats
from vmapi.services.health import Readiness
from vmapi.services.inventory.observer import Looks
from vmapi.services.inventory.reader import View
from vmapi.services.inventory.sync import Sync
from vmapi.services.maintenance import Housekeeping
from vmapi.services.operations.service import Operations
from vmapi.services.operations.submission import Submission
from vmapi.services.operations.waiting import Waiting
from vmapi.services.periodic import Chore
from vmapi.services.quotas import Usage
from vmapi.services.quotas import parse as parse_quotas
from vmapi.services.reconciler.deadlines import parse as parse_deadlines
from vmapi.services.reconciler.poller import Poll
from vmapi.services.reconciler.reconciler import Controller
from vmapi.services.vms.bulk import Bulk
from vmapi.services.vms.duplicates import Doubles
from vmapi.services.vms.service import VMs
from vmapi.settings import checks
from vmapi.settings.settings import Settings
from vmapi.store.store import Store
from vmapi.telemetry import logging

DATABASE = "sqlite:///instance/vmapi.sqlite3"
"""Where a real cloud's operations are kept unless the settings say otherwise."""

MAX_BODY = 1024 * 1024
"""Bytes: twice what the largest VM that may be asked for takes in JSON."""


def create_app(settings: Settings | None = None, backend: Backend | None = None) -> Flask:
    """Make the app. Nothing is connected or started before the first request.

    Raises SettingsError.
    """
    settings = settings or Settings.load()
    logging.configure(settings.log_level)
    backend = backend or registry.load(settings)
    app = Flask("vmapi", static_folder=None)
    # //vms is no URL of ours, and no redirect is a problem+json
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["SETTINGS"] = settings
    app.extensions["vmapi"] = wire(settings, backend)
    api = Api(app)
    endpoints.register(api, f"/api/{settings.api_version}")
    docs.init_app(app, api)
    context.init_app(app)
    headers.init_app(app)
    cors.init_app(app, settings.origins)
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
    checks.check(settings, single_process=backend.single_process)
    configured.warn(settings)
    app.register_error_handler(VmapiError, problems.response)
    app.register_error_handler(HTTPException, problems.from_http)
    app.register_error_handler(Exception, problems.from_crash)
    cli.init_app(app)
    return app


def wire(
    settings: Settings, driver: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Services:
    """Put the layers together."""
    backend = Guarded(driver)
    draining = threading.Event()
    url = settings.database_url or (None if backend.single_process else DATABASE)
    engine = _engine(settings)
    rules, keeps = parse_quotas(settings.quotas), isinstance(engine, EngineThread)
    store = Store(url, settings.threads, clock, keeps=keeps, quotas=rules)
    looks = Looks(backend, store, clock)
    controller = Controller(
        backend,
        looks,
        store,
        clock=clock,
        answer_timeout=settings.backend_timeout,
        deadlines=parse_deadlines(settings.deadlines),
    )

    def look_up(operation_id: str) -> Operation:
        return store.operations.get(operation_id)

    waiting = Waiting(look_up, settings.places, settings.waits_of_one, draining.is_set)
    work = Operations(store, controller, waiting, Poll(looks, time.monotonic), engine.wake)
    shelf = Catalog(backend)
    view = View(backend, store, looks, clock)
    usage = Usage(view, store, rules)
    submission = Submission(backend, store, work, view, waiting, clock=clock)
    use_cases = VMs(backend, shelf, view, submission, usage)
    chores = {"housekeeping": Chore(_housekeeping(settings, store, clock).tick)}
    if not backend.instant:
        tidy = Doubles(store, use_cases).delete
        sync = Sync(looks, store, tidy=tidy, clock=backend.now, monotonic=time.monotonic)
        chores |= sync.chores
    if isinstance(engine, EngineThread):
        engine.serve(work, chores)
    tokens = Tokens(store, clock)
    return Services(
        base_path=f"/api/{settings.api_version}",
        version=settings.api_version,
        backend=backend,
        catalog=shelf,
        vms=use_cases,
        bulk=Bulk(view, submission, store),
        operations=work,
        cursors=Cursors(lambda: store.keys.get("cursor"), clock),
        events=_events(settings, store, waiting, draining),
        chores=chores,
        engine=engine,
        store=store,
        gate=configured.gate(settings, tokens.find, tokens.used, clock),
        tokens=tokens,
        rates=Rates.from_settings(settings),
        readiness=Readiness(backend, store, time.monotonic),
        draining=draining,
        usage=usage,
    )


def _housekeeping(settings: Settings, store: Store, clock: Callable[[], datetime]) -> Housekeeping:
    return Housekeeping(
        store,
        audit_key=settings.audit_key,
        keep_operations=timedelta(days=settings.retention),
        keep_audit=timedelta(days=settings.audit_retention),
        keep_events=timedelta(hours=settings.event_retention),
        clock=clock,
        monotonic=time.monotonic,
    )


def _events(
    settings: Settings, store: Store, waiting: Waiting, draining: threading.Event
) -> Events:
    most = min(settings.event_streams, settings.places)
    seats = Seats(waiting.places, most, settings.caller_streams)
    return Events(lambda: store.events, seats, draining.is_set)


def _engine(settings: Settings) -> Runner:
    if settings.engine == "thread":
        return EngineThread()
    if settings.engine == "worker":
        return Elsewhere()
    # Celery is loaded only where it is asked for
    from vmapi.engine.celery_notifier import Bell

    return Bell(settings.broker_url)
