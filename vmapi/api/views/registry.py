"""Every endpoint, from one list."""

from vmapi.api.openapi.document import Api
from vmapi.api.views import audit, bulk, catalog, docs, events, health, operations, vms
from vmapi.api.views import quotas as quota

VERSIONED_BLUEPRINTS = (
    *(vms.blp, bulk.blp, operations.blp, events.blp, catalog.blp, quota.blp, audit.blp),
    health.health,
)
"""What is below the base path."""

UNVERSIONED_BLUEPRINTS = (health.probes, docs.problems)


def register_blueprints(api: Api, base: str) -> None:
    """Serve them, those with a version below the base path."""
    for blueprint in VERSIONED_BLUEPRINTS:
        api.register_blueprint(blueprint, url_prefix=base)
    for blueprint in UNVERSIONED_BLUEPRINTS:
        api.register_blueprint(blueprint)
