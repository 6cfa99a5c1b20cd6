"""Probes: whether the process serves, and whether what it needs is there."""

from datetime import UTC, datetime

from flask import Response
from marshmallow import Schema, fields, validate

from vmapi.api import render
from vmapi.api.blueprint import ANYBODY, Blueprint
from vmapi.api.context import services
from vmapi.backends.base import Backend
from vmapi.errors import BackendFailure, Forbidden, StoreUnavailable
from vmapi.store.store import Store

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
        required=True, validate=validate.OneOf(["ready", "unavailable", "draining"])
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
    example={"status": "ready", "dependencies": {"backend": "ok", "store": "ok"}},
)
@probes.also_answers(
    503,
    ReadySchema(),
    example={
        "status": "unavailable",
        "dependencies": {"backend": "backend_unavailable", "store": "ok"},
    },
    description="Something that is needed is away, or the process drains",
)
@probes.refuses()
def get_readyz() -> Response:
    """Tell whether requests can be served"""
    needed = {"backend": _state(services().backend), "store": _state(services().store)}
    status = "ready" if set(needed.values()) == {"ok"} else "unavailable"
    if services().draining.is_set():
        status = "draining"
    return render.answer(
        {"status": status, "dependencies": needed}, 200 if status == "ready" else 503
    )


def _state(needed: Backend | Store) -> str:
    try:
        needed.ping()
    except (BackendFailure, Forbidden, StoreUnavailable) as error:
        return error.code
    return "ok"
