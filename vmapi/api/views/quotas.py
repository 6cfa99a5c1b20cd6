"""/quota: how much the caller's project may have, and what it has."""

from dataclasses import asdict

from flask import Response
from marshmallow import Schema, fields

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, Blueprint
from vmapi.api.openapi.vm_blueprint import AGE_HEADER, CACHE_CONTROL_HEADER
from vmapi.api.request.caller import current_project
from vmapi.api.request.context import current_services, no_cache
from vmapi.domain.roles import Permission

blp = Blueprint("quota", "How much there may be")


class QuotaUsageSchema(Schema):
    """How much of one thing."""

    used = fields.Integer(required=True)
    limit = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null when there is none"}
    )


class QuotaSchema(Schema):
    """What a project has, and may have, of each."""

    vms = fields.Nested(QuotaUsageSchema, required=True)
    vcpus = fields.Nested(QuotaUsageSchema, required=True)
    ram_mb = fields.Nested(QuotaUsageSchema, required=True)


@blp.get("/quota")
@blp.requires(Permission.READ)
@blp.request_headers(CACHE_CONTROL_HEADER)
@blp.answers(200, QuotaSchema(), example=examples.QUOTA, headers=AGE_HEADER)
@blp.problems(*BACKEND_PROBLEMS)
def get_quota() -> Response:
    """Show what your project has, and may have"""
    quota, age = current_services().quotas.get(current_project(), refresh=no_cache())
    used, limits = asdict(quota.used), asdict(quota.limits)
    body = {kind: {"used": used[kind], "limit": limits[kind]} for kind in used}
    return render.json_response(body, headers=render.age_header(age))
