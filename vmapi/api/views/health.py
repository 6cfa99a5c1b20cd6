"""Probes: whether the process serves, and whether what it needs is there."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Response
from marshmallow import Schema, fields, validate

from vmapi.api import responses as render
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.permissions import ANYBODY
from vmapi.api.request.context import services
from vmapi.services.health import OK

health = Blueprint("health", "Whether the API serves")
probes = Blueprint("probes", "For load balancers and orchestrators")

NOW = "2026-02-25T10:30:00Z"


class HealthSchema(Schema):
    """The process serves."""

    status = fields.String(required=True, validate=validate.Equal("healthy"))
    version = fields.String(required=True)
    timestamp = fields.AwareDateTime(required=True)


class LiveSchema(Schema):
    """The process runs."""

    status = fields.String(required=True, validate=validate.Equal("alive"))


class ReadySchema(Schema):
    """Whether requests can be served, and how each thing needed for it is."""

    status = fields.String(
        required=True, validate=validate.OneOf(["ready", "degraded", "unavailable", "draining"])
    )
    dependencies = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


@health.get("/health")
@health.needs(ANYBODY)
@health.answers(
    200, HealthSchema(), example={"status": "healthy", "version": "v1", "timestamp": NOW}
)
@health.refuses()
def get_health() -> Response:
    """Tell that the API serves"""
    now = render.timestamp(datetime.now(UTC))
    return render.answer({"status": "healthy", "version": services().version, "timestamp": now})


@probes.get("/livez")
@probes.needs(ANYBODY)
@probes.answers(200, LiveSchema(), example={"status": "alive"})
@probes.refuses()
def get_livez() -> Response:
    """Tell that the process runs"""
    return render.answer({"status": "alive"})


@probes.get("/readyz")
@probes.needs(ANYBODY)
@probes.answers(
    200,
    ReadySchema(),
    example={
        "status": "degraded",
        "dependencies": {"backend": "backend_unavailable", "store": "ok"},
    },
    description="Requests are served; degraded means that the cloud is away: reads go on",
)
@probes.also_answers(
    503,
    ReadySchema(),
    example={
        "status": "unavailable",
        "dependencies": {"backend": "ok", "store": "store_unavailable"},
    },
    description="The store is away, or the process drains",
)
@probes.refuses()
def get_readyz() -> Response:
    """Tell whether requests can be served"""
    needed = services().readiness.states()
    status = _status(needed)
    return render.answer(
        {"status": status, "dependencies": dict(needed)},
        200 if status in ("ready", "degraded") else 503,
    )


def _status(needed: Mapping[str, str]) -> str:
    if services().draining.is_set():
        return "draining"
    if needed["store"] != OK:
        return "unavailable"
    return "ready" if set(needed.values()) == {OK} else "degraded"
