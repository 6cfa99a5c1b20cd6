"""The Flask application: blueprints, request hooks and error handlers in one factory."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException

from vmapi.api import middleware
from vmapi.api.middleware import single_process
from vmapi.api.middleware.forwarded_address import ForwardedAddress
from vmapi.api.problems import responses as problems
from vmapi.api.request.body import MAX_BODY_BYTES
from vmapi.api.request.versions import ApiVersion
from vmapi.api.views.registry import build_versions, register_versions
from vmapi.auth import factory as configured
from vmapi.backends import registry
from vmapi.backends.base import Backend
from vmapi.bootstrap import bootstrap
from vmapi.cli import commands as cli
from vmapi.errors import VmapiError
from vmapi.settings import checks
from vmapi.settings.settings import Settings
from vmapi.telemetry import logging


class Application(Flask):
    """A Flask app without coroutines: the search for them costs a call for each hook."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function."""
        return func


def create_app(
    settings: Settings | None = None,
    backend: Backend | None = None,
    *,
    other_versions: tuple[ApiVersion, ...] = (),
) -> Flask:
    """Build the app. It opens no connection and starts no thread before the first request.

    It serves `other_versions` of the API besides the version of the settings. Raises SettingsError.
    """
    settings = settings or Settings.load()
    logging.configure(settings.log_level)
    backend = backend or registry.create_backend(settings)
    app = Application("vmapi", static_folder=None)
    # a redirect from //vms to /vms would not be a problem document
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["SETTINGS"] = settings
    app.extensions["vmapi"] = bootstrap(settings, backend)
    register_versions(app, build_versions(settings.api_version, other_versions))
    middleware.install(app, settings, single_process_backend=backend.single_process)
    if settings.proxies:
        proxied = ForwardedAddress(app.wsgi_app, settings.proxies)
        app.wsgi_app = proxied  # type: ignore[method-assign]
    if backend.single_process:
        single_process.check_settings(settings)
    checks.validate(settings, single_process=backend.single_process)
    configured.warn_if_anonymous(settings)
    _register_error_handlers(app)
    cli.init_app(app)
    return app


def _register_error_handlers(app: Flask) -> None:
    app.register_error_handler(VmapiError, problems.problem_response)
    app.register_error_handler(HTTPException, problems.http_exception_response)
    app.register_error_handler(Exception, problems.internal_error_response)
