"""The blueprints of each version, and their registration."""

from flask import Flask

from vmapi.api.openapi.document import Api
from vmapi.api.request import versions
from vmapi.api.request.versions import ApiVersion, ApiVersions
from vmapi.api.views import (
    audit,
    bulk,
    catalog,
    docs,
    events,
    graphql,
    health,
    operations,
    quotas,
    vms,
)

VERSIONED_BLUEPRINTS = (
    *(vms.blp, bulk.blp, operations.blp, events.blp, catalog.blp, quotas.blp, audit.blp),
    health.health,
)
"""Blueprints with URLs below the base path, such as `/api/v1`."""

UNVERSIONED_BLUEPRINTS = (health.probes, docs.problems)
"""Blueprints with URLs below the root."""


def build_versions(main: str, others: tuple[ApiVersion, ...] = ()) -> ApiVersions:
    """Return the versions of an app. `main` is the name of the version of the settings."""
    return ApiVersions(ApiVersion(main, VERSIONED_BLUEPRINTS), others)


def register_versions(app: Flask, served: ApiVersions) -> None:
    """Register the blueprints and the OpenAPI document of each version."""
    versions.install(app, served)
    for blueprint in UNVERSIONED_BLUEPRINTS:
        app.register_blueprint(blueprint)
    for version in (served.main, *served.others):
        api = Api(app, version.base_path)
        for blueprint in version.blueprints:
            name = served.endpoint(version, blueprint.name)
            app.register_blueprint(blueprint, name=name, url_prefix=version.base_path)
            api.describe(blueprint, name)
        for blueprint in UNVERSIONED_BLUEPRINTS:
            api.describe(blueprint, blueprint.name)
        docs.register_version(app, api, served, version)
    docs.register_pages(app)
    graphql.register_graphql(app)
