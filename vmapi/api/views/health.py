"""Health checks: /health, /livez and /readyz."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Response
from marshmallow import Schema, fields, validate

from vmapi.api import responses
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.permissions import PUBLIC
from vmapi.api.request.context import current_services
from vmapi.api.request.versions import current_version
from vmapi.api.schemas.fields import described
from vmapi.domain.timestamps import format_rfc3339
from vmapi.services.health import OK

health = Blueprint("health", "Health of the API")
probes = Blueprint("probes", "Probes for load balancers and orchestrators")

EXAMPLE_TIMESTAMP = "2026-02-25T10:30:00Z"
READINESS_STATUSES = ("ready", "degraded", "unavailable", "draining")


class HealthSchema(Schema):
    """The API is running."""

    status = fields.String(
        required=True, validate=validate.Equal("healthy"), **described("Always `healthy`.")
    )
    version = fields.String(required=True, **described("Version of the API, as in its URLs."))
    timestamp = fields.AwareDateTime(required=True, **described("Current time."))


class LivenessSchema(Schema):
    """The process is running."""

    status = fields.String(
        required=True, validate=validate.Equal("alive"), **described("Always `alive`.")
    )


class ReadinessSchema(Schema):
    """The readiness of the process and of its dependencies."""

    status = fields.String(
        required=True,
        validate=validate.OneOf(READINESS_STATUSES),
        **described("Readiness of the process.", enum_name="ReadinessStatus"),
    )
    dependencies = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        **described("`ok` or a problem code, by dependency."),
    )


@health.get("/health")
@health.requires(PUBLIC)
@health.response(
    200,
    HealthSchema(),
    example={"status": "healthy", "version": "v1", "timestamp": EXAMPLE_TIMESTAMP},
)
@health.problems()
def get_health() -> Response:
    """Check that the API is running

    The response is 200 as long as the process serves requests.
    """
    now = format_rfc3339(datetime.now(UTC))
    body = {"status": "healthy", "version": current_version().name, "timestamp": now}
    return responses.json_response(body)


@probes.get("/livez")
@probes.requires(PUBLIC)
@probes.response(200, LivenessSchema(), example={"status": "alive"})
@probes.problems()
def get_livez() -> Response:
    """Check that the process is running

    An orchestrator restarts a process that does not respond.
    """
    return responses.json_response({"status": "alive"})


@probes.get("/readyz")
@probes.requires(PUBLIC)
@probes.response(
    200,
    ReadinessSchema(),
    example={
        "status": "degraded",
        "dependencies": {"backend": "backend_unavailable", "store": "ok"},
    },
    description="The process serves requests. `degraded`: the cloud is unreachable, reads work",
)
@probes.alt_response(
    503,
    ReadinessSchema(),
    example={
        "status": "unavailable",
        "dependencies": {"backend": "ok", "store": "store_unavailable"},
    },
    description="The database is unreachable, or the process is draining",
)
@probes.problems()
def get_readyz() -> Response:
    """Check that the process can serve requests

    While the response is 503, a load balancer sends no requests to the process.
    """
    dependencies = current_services().readiness.statuses()
    status = _overall_status(dependencies)
    return responses.json_response(
        {"status": status, "dependencies": dict(dependencies)},
        200 if status in ("ready", "degraded") else 503,
    )


def _overall_status(dependencies: Mapping[str, str]) -> str:
    if current_services().draining.is_set():
        return "draining"
    if dependencies["store"] != OK:
        return "unavailable"
    return "ready" if set(dependencies.values()) == {OK} else "degraded"
