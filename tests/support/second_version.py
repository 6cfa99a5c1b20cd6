"""A second version of the API that differs from the first in one call: `GET /health`.

Its status is `pass`, as in draft-inadarei-api-health-check, in place of `healthy`. gunicorn serves
both versions with `tests.support.second_version:build_app()`.
"""

from flask import Flask, Response
from marshmallow import Schema, fields

from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.permissions import PUBLIC
from vmapi.api.request.versions import ApiVersion
from vmapi.api.responses import json_response
from vmapi.api.views.health import health
from vmapi.api.views.registry import VERSIONED_BLUEPRINTS
from vmapi.app import create_app

passing_health = Blueprint("health", "Health of the API")


class PassSchema(Schema):
    """The API is running."""

    status = fields.String(required=True)


@passing_health.get("/health")
@passing_health.requires(PUBLIC)
@passing_health.response(200, PassSchema(), example={"status": "pass"})
@passing_health.problems()
def get_health() -> Response:
    """Check that the API is running."""
    return json_response({"status": "pass"})


V2 = ApiVersion(
    "v2", tuple(passing_health if blp is health else blp for blp in VERSIONED_BLUEPRINTS)
)


def build_app() -> Flask:
    """Build an app with the version of the settings and V2."""
    return create_app(other_versions=(V2,))
