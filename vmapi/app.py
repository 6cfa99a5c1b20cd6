"""The composition root: the one file that knows every layer."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from vmapi import cli
from vmapi.api import access, context, cors, docs, endpoints, headers, problems
from vmapi.api.openapi import Api
from vmapi.backends import registry
from vmapi.backends.base import Backend
from vmapi.engine.elsewhere import Elsewhere
from vmapi.engine.thread import EngineThread
from vmapi.errors import BackendUnavailable, SettingsError, VmapiError
from vmapi.models.operation import Operation
from vmapi.security import checks, configured
from vmapi.services.bulk import Bulk
from vmapi.services.catalog import Catalog
from vmapi.services.chore import Chore
from vmapi.services.controller import Controller
from vmapi.services.deadlines import parse as parse_deadlines
from vmapi.services.doubles import Doubles
from vmapi.services.housekeeping import Housekeeping
from vmapi.services.looks import Looks
from vmapi.services.operations import Operations
from vmapi.services.poll import Poll
from vmapi.services.submission import Submission
from vmapi.services.sync import Sync
from vmapi.services.tokens import Tokens
from vmapi.services.view import View
from vmapi.services.vms import VMs
from vmapi.services.waiting import Waiting
from vmapi.settings import Settings
from vmapi.store.store import Store
from vmapi.telemetry import logging

DATABASE = "sqlite:///instance/vmapi.sqlite3"
"""Where a real cloud's operations are kept unless the settings say otherwise."""

MAX_BODY = 1024 * 1024
"""Bytes: twice what the largest VM that may be asked for takes in JSON."""

log = structlog.get_logger("vmapi")


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
    context.init_app(app)
    headers.init_app(app)
    cors.init_app(app, settings.origins)
    if settings.proxies:
        # what they append to X-Forwarded-For is believed, what came before is not
        proxied = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0, x_host=0)
        app.wsgi_app = proxied  # type: ignore[method-assign]
    if backend.single_process:
        _check_processes(app, settings)
    checks.check(settings, single_process=backend.single_process)
    configured.warn(settings)
    app.register_error_handler(VmapiError, problems.response)
    app.register_error_handler(HTTPException, problems.from_http)
    app.register_error_handler(Exception, problems.from_crash)
    api = Api(app)
    endpoints.register(api, f"/api/{settings.api_version}")
    docs.init_app(app, api)
    access.init_app(app)
    cli.init_app(app)
    return app


def wire(
    settings: Settings, backend: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> context.Services:
    """Put the layers together."""
    draining = threading.Event()
    url = settings.database_url or (None if backend.single_process else DATABASE)
    engine = _engine(settings)
    store = Store(url, settings.threads, clock, keeps=isinstance(engine, EngineThread))
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

    waiting = Waiting(look_up, settings.threads // 2, draining.is_set)
    work = Operations(store, controller, waiting, Poll(looks, time.monotonic), engine.wake)
    shelf = Catalog(backend)
    view = View(backend, store, looks, clock)
    submission = Submission(backend, store, work, view, waiting, clock=clock)
    use_cases = VMs(backend, shelf, view, submission)
    chores = {"housekeeping": Chore(_housekeeping(settings, store, clock).tick)}
    if not backend.instant:
        tidy = Doubles(store, use_cases).delete
        sync = Sync(looks, store, tidy=tidy, clock=backend.now, monotonic=time.monotonic)
        chores |= sync.chores
    if isinstance(engine, EngineThread):
        engine.serve(work, chores)
    tokens = Tokens(store, clock)
    return context.Services(
        base_path=f"/api/{settings.api_version}",
        version=settings.api_version,
        backend=backend,
        catalog=shelf,
        vms=use_cases,
        bulk=Bulk(view, submission),
        operations=work,
        chores=chores,
        engine=engine,
        store=store,
        gate=configured.gate(settings, tokens.find, tokens.used, clock),
        tokens=tokens,
        draining=draining,
    )


def _housekeeping(settings: Settings, store: Store, clock: Callable[[], datetime]) -> Housekeeping:
    return Housekeeping(
        store,
        audit_key=settings.audit_key,
        keep_operations=timedelta(days=settings.retention),
        keep_audit=timedelta(days=settings.audit_retention),
        clock=clock,
        monotonic=time.monotonic,
    )


def _engine(settings: Settings) -> context.Runner:
    if settings.engine == "thread":
        return EngineThread()
    if settings.engine == "worker":
        return Elsewhere()
    # Celery is loaded only where it is asked for
    from vmapi.engine.messages import Bell

    return Bell(settings.broker_url)


def _check_processes(app: Flask, settings: Settings) -> None:
    if settings.worker_count > 1:
        raise SettingsError(
            f"VMAPI_WORKERS {settings.worker_count}: the {settings.backend} cloud lives in the "
            "memory of one process; set VMAPI_WORKERS=1, or VMAPI_BACKEND=openstack"
        )
    if settings.engine != "thread":
        raise SettingsError(
            f"VMAPI_ENGINE {settings.engine}: the {settings.backend} cloud lives in the memory of "
            "one process; set VMAPI_ENGINE=thread, or VMAPI_BACKEND=openstack"
        )
    log.warning(
        f"the {settings.backend} cloud is for development: its VMs are not real, "
        "and gone when this process ends"
    )
    app.before_request(_one_process(settings.backend))


def _one_process(backend: str) -> Callable[[], None]:
    told = threading.Event()

    def check() -> None:
        # a server that was not told by our settings how many processes there are tells it here
        if not request.environ["wsgi.multiprocess"]:
            return
        refusal = (
            f"The {backend} cloud lives in the memory of one process, but several serve. "
            "Serve with one, or set VMAPI_BACKEND=openstack."
        )
        if not told.is_set():
            told.set()
            log.error(refusal)
        raise BackendUnavailable(refusal)

    return check
