"""Probes: whether the process serves, and whether what it needs is there."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Response
from marshmallow import Schema, fields, validate

from vmapi.api import responses as render
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.permissions import PUBLIC
from vmapi.api.request.context import current_services
from vmapi.services.health import OK

health = Blueprint("health", "Whether the API serves")
probes = Blueprint("probes", "For load balancers and orchestrators")

EXAMPLE_TIMESTAMP = "2026-02-25T10:30:00Z"


class HealthSchema(Schema):
    """The process serves."""

    status = fields.String(required=True, validate=validate.Equal("healthy"))
    version = fields.String(required=True)
    timestamp = fields.AwareDateTime(required=True)


class LivenessSchema(Schema):
    """The process runs."""

    status = fields.String(required=True, validate=validate.Equal("alive"))


class ReadinessSchema(Schema):
    """Whether requests can be served, and how each thing needed for it is."""

    status = fields.String(
        required=True, validate=validate.OneOf(["ready", "degraded", "unavailable", "draining"])
    )
    dependencies = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


@health.get("/health")
@health.requires(PUBLIC)
@health.answers(
    200,
    HealthSchema(),
    example={"status": "healthy", "version": "v1", "timestamp": EXAMPLE_TIMESTAMP},
)
@health.problems()
def get_health() -> Response:
    """Tell that the API serves"""
    now = render.format_timestamp(datetime.now(UTC))
    return render.json_response(
        {"status": "healthy", "version": current_services().version, "timestamp": now}
    )


@probes.get("/livez")
@probes.requires(PUBLIC)
@probes.answers(200, LivenessSchema(), example={"status": "alive"})
@probes.problems()
def get_livez() -> Response:
    """Tell that the process runs"""
    return render.json_response({"status": "alive"})


@probes.get("/readyz")
@probes.requires(PUBLIC)
@probes.answers(
    200,
    ReadinessSchema(),
    example={
        "status": "degraded",
        "dependencies": {"backend": "backend_unavailable", "store": "ok"},
    },
    description="Requests are served; degraded means that the cloud is away: reads go on",
)
@probes.also_answers(
    503,
    ReadinessSchema(),
    example={
        "status": "unavailable",
        "dependencies": {"backend": "ok", "store": "store_unavailable"},
    },
    description="The store is away, or the process drains",
)
@probes.problems()
def get_readyz() -> Response:
    """Tell whether requests can be served"""
    needed = current_services().readiness.statuses()
    status = _overall_status(needed)
    return render.json_response(
        {"status": status, "dependencies": dict(needed)},
        200 if status in ("ready", "degraded") else 503,
    )


def _overall_status(needed: Mapping[str, str]) -> str:
    if current_services().draining.is_set():
        return "draining"
    if needed["store"] != OK:
        return "unavailable"
    return "ready" if set(needed.values()) == {OK} else "degraded"
