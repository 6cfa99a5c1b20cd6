"""The Flask application: blueprints, request hooks and error handlers in one factory."""

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
from vmapi.bootstrap import bootstrap
from vmapi.cli import commands as cli
from vmapi.errors import VmapiError
from vmapi.settings import checks
from vmapi.settings.settings import Settings
from vmapi.telemetry import logging

MAX_BODY_BYTES = 1024 * 1024
"""Twice the JSON size of the largest valid create request."""


def create_app(settings: Settings | None = None, backend: Backend | None = None) -> Flask:
    """Build the app. It opens no connection and starts no thread before the first request.

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
