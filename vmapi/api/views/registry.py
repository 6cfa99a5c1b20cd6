"""The list of all blueprints."""

from vmapi.api.openapi.document import Api
from vmapi.api.views import audit, bulk, catalog, docs, events, health, operations, quotas, vms

VERSIONED_BLUEPRINTS = (
    *(vms.blp, bulk.blp, operations.blp, events.blp, catalog.blp, quotas.blp, audit.blp),
    health.health,
)
"""Blueprints with URLs below the base path, such as `/api/v1`."""

UNVERSIONED_BLUEPRINTS = (health.probes, docs.problems)
"""Blueprints with URLs below the root."""


def register_blueprints(api: Api, base_path: str) -> None:
    """Register every blueprint."""
    for blueprint in VERSIONED_BLUEPRINTS:
        api.register_blueprint(blueprint, url_prefix=base_path)
    for blueprint in UNVERSIONED_BLUEPRINTS:
        api.register_blueprint(blueprint)
