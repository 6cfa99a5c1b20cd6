"""/quota: the quota of the caller's project and its usage."""

from dataclasses import asdict

from flask import Response
from marshmallow import Schema, fields

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, Blueprint
from vmapi.api.request.caller import current_project
from vmapi.api.request.context import current_services
from vmapi.api.request.headers import no_cache
from vmapi.api.schemas.fields import described
from vmapi.domain.access.roles import Permission
from vmapi.domain.quota import LimitSource

blp = Blueprint("quota", "Quota of the project and its usage")


class QuotaUsageSchema(Schema):
    """Usage and limit of one resource."""

    used = fields.Integer(required=True, **described("Amount in use."))
    limit = fields.Integer(
        required=True,
        allow_none=True,
        **described("The lower limit of the project's quota and the cloud's; null without any."),
    )
    limited_by = fields.Enum(
        LimitSource,
        by_value=True,
        required=True,
        allow_none=True,
        **described(
            "The quota with this limit: of the `project` in vmapi, or of the `cloud`, which counts "
            "all VMs of the OpenStack project; null without a limit.",
            enum_name="QuotaLimitSource",
        ),
    )


class QuotaSchema(Schema):
    """The quota of a project."""

    vms = fields.Nested(QuotaUsageSchema, required=True, **described("Number of VMs."))
    vcpus = fields.Nested(QuotaUsageSchema, required=True, **described("Virtual CPUs."))
    ram_mb = fields.Nested(QuotaUsageSchema, required=True, **described("Memory in MiB."))


@blp.get("/quota")
@blp.requires(Permission.READ)
@blp.request_headers("Cache-Control")
@blp.response(200, QuotaSchema(), example=examples.QUOTA, headers=["Age"])
@blp.problems(*BACKEND_PROBLEMS)
def get_quota() -> Response:
    """Get the quota and the usage of your project"""
    quota, age = current_services().quotas.get(current_project(), refresh=no_cache())
    body = {}
    for kind, used in asdict(quota.used).items():
        limit, source = quota.get_lower_limit(kind)
        body[kind] = {"used": used, "limit": limit, "limited_by": source}
    return responses.json_response(body, headers=responses.age_header(age))
