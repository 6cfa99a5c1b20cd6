"""Every endpoint, from one list."""

from vmapi.api.openapi.document import Api
from vmapi.api.views import audit, bulk, catalog, docs, events, health, operations, vms
from vmapi.api.views import quotas as quota

VERSIONED = (
    *(vms.blp, bulk.blp, operations.blp, events.blp, catalog.blp, quota.blp, audit.blp),
    health.health,
)
"""What is below the base path."""

BESIDE = (health.probes, docs.problems)


def register(api: Api, base: str) -> None:
    """Serve them, those with a version below the base path."""
    for blueprint in VERSIONED:
        api.register_blueprint(blueprint, url_prefix=base)
    for blueprint in BESIDE:
        api.register_blueprint(blueprint)
