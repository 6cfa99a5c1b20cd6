"""/flavors, /images, /networks: the catalog of the cloud."""

from flask import Response
from marshmallow import Schema, fields

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, Blueprint
from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import described
from vmapi.domain.access.roles import Permission

blp = Blueprint("catalog", "Flavors, images and networks for new VMs")


class FlavorSchema(Schema):
    """A size of VMs."""

    id = fields.String(required=True, **described("Id of the flavor."))
    name = fields.String(required=True, **described("Name of the flavor."))
    vcpus = fields.Integer(required=True, **described("Number of virtual CPUs."))
    ram_mb = fields.Integer(required=True, **described("Memory in MiB."))
    disk_gb = fields.Integer(required=True, **described("Root disk in GiB."))


class ImageSchema(Schema):
    """A boot image of VMs."""

    id = fields.String(required=True, **described("Id of the image."))
    name = fields.String(required=True, **described("Name of the image."))
    status = fields.String(
        required=True, **described("Status in the cloud. Only `active` images can boot a VM.")
    )
    min_disk_gb = fields.Integer(required=True, **described("Smallest root disk in GiB."))
    min_ram_mb = fields.Integer(required=True, **described("Smallest memory in MiB."))


class NetworkSchema(Schema):
    """A network that assigns addresses to VMs."""

    id = fields.String(required=True, **described("Id of the network."))
    name = fields.String(required=True, **described("Name of the network."))


class FlavorListSchema(Schema):
    """All flavors, the smallest first."""

    items = fields.List(fields.Nested(FlavorSchema), required=True, **described("The flavors."))


class ImageListSchema(Schema):
    """All images, sorted by name."""

    items = fields.List(fields.Nested(ImageSchema), required=True, **described("The images."))


class NetworkListSchema(Schema):
    """All networks, sorted by name."""

    items = fields.List(fields.Nested(NetworkSchema), required=True, **described("The networks."))


@blp.get("/flavors")
@blp.requires(Permission.READ)
@blp.response(200, FlavorListSchema(), example={"items": [examples.FLAVOR]})
@blp.problems(*BACKEND_PROBLEMS)
def list_flavors() -> Response:
    """List all flavors"""
    flavors = current_services().catalog.list_flavors(current_scope())
    return responses.list_response(FlavorSchema, flavors)


@blp.get("/images")
@blp.requires(Permission.READ)
@blp.response(200, ImageListSchema(), example={"items": [examples.IMAGE]})
@blp.problems(*BACKEND_PROBLEMS)
def list_images() -> Response:
    """List all images"""
    images = current_services().catalog.list_images(current_scope())
    return responses.list_response(ImageSchema, images)


@blp.get("/networks")
@blp.requires(Permission.READ)
@blp.response(200, NetworkListSchema(), example={"items": [examples.NETWORK]})
@blp.problems(*BACKEND_PROBLEMS)
def list_networks() -> Response:
    """List all networks"""
    networks = current_services().catalog.list_networks(current_scope())
    return responses.list_response(NetworkSchema, networks)
