"""/quota: how much the caller's project may have, and what it has."""

from dataclasses import asdict

from flask import Response
from marshmallow import Schema, fields

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import CLOUD, Blueprint
from vmapi.api.openapi.vm_blueprint import AGE, CACHE_CONTROL
from vmapi.api.request.caller import project
from vmapi.api.request.context import fresh, services
from vmapi.domain.roles import Permission

blp = Blueprint("quota", "How much there may be")


class ShareSchema(Schema):
    """How much of one thing."""

    used = fields.Integer(required=True)
    limit = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null when there is none"}
    )


class QuotaSchema(Schema):
    """What a project has, and may have, of each."""

    vms = fields.Nested(ShareSchema, required=True)
    vcpus = fields.Nested(ShareSchema, required=True)
    ram_mb = fields.Nested(ShareSchema, required=True)


@blp.get("/quota")
@blp.needs(Permission.READ)
@blp.heeds(CACHE_CONTROL)
@blp.answers(200, QuotaSchema(), example=examples.QUOTA, headers=AGE)
@blp.refuses(*CLOUD)
def get_quota() -> Response:
    """Show what your project has, and may have"""
    quota, age = services().usage.of(project(), fresh=fresh())
    used, limits = asdict(quota.used), asdict(quota.limits)
    body = {kind: {"used": used[kind], "limit": limits[kind]} for kind in used}
    return render.answer(body, headers=render.age(age))
