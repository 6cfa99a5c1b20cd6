"""/flavors, /images, /networks: what VMs are made of."""

from flask import Response
from marshmallow import Schema, fields

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, Blueprint
from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_services
from vmapi.domain.roles import Permission

blp = Blueprint("catalog", "What VMs are made of")


class FlavorSchema(Schema):
    """A size of VM."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    vcpus = fields.Integer(required=True)
    ram_mb = fields.Integer(required=True)
    disk_gb = fields.Integer(required=True)


class ImageSchema(Schema):
    """What a VM boots from."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True, metadata={"description": "only active ones can be used"})
    min_disk_gb = fields.Integer(required=True)
    min_ram_mb = fields.Integer(required=True)


class NetworkSchema(Schema):
    """What a VM gets its address from."""

    id = fields.String(required=True)
    name = fields.String(required=True)


class FlavorListSchema(Schema):
    """Every flavor, the smallest first."""

    items = fields.List(fields.Nested(FlavorSchema), required=True)


class ImageListSchema(Schema):
    """Every image, by name."""

    items = fields.List(fields.Nested(ImageSchema), required=True)


class NetworkListSchema(Schema):
    """Every network, by name."""

    items = fields.List(fields.Nested(NetworkSchema), required=True)


@blp.get("/flavors")
@blp.requires(Permission.READ)
@blp.answers(200, FlavorListSchema(), example={"items": [examples.FLAVOR]})
@blp.problems(*BACKEND_PROBLEMS)
def list_flavors() -> Response:
    """List the flavors"""
    return render.list_response(FlavorSchema, current_services().catalog.list_flavors())


@blp.get("/images")
@blp.requires(Permission.READ)
@blp.answers(200, ImageListSchema(), example={"items": [examples.IMAGE]})
@blp.problems(*BACKEND_PROBLEMS)
def list_images() -> Response:
    """List the images"""
    return render.list_response(
        ImageSchema, current_services().catalog.list_images(current_scope())
    )


@blp.get("/networks")
@blp.requires(Permission.READ)
@blp.answers(200, NetworkListSchema(), example={"items": [examples.NETWORK]})
@blp.problems(*BACKEND_PROBLEMS)
def list_networks() -> Response:
    """List the networks"""
    return render.list_response(
        NetworkSchema, current_services().catalog.list_networks(current_scope())
    )
