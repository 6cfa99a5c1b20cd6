"""The object types of the schema. Their values are objects of the domain.

A field without a resolver reads the attribute of the same name.
"""

from dataclasses import fields
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import strawberry
from strawberry.scalars import JSON

from vmapi.api import responses
from vmapi.api.graphql.types.enums import (
    Action,
    LimitSource,
    OperationStatus,
)
from vmapi.api.problems.terms import ClientApi
from vmapi.domain.bulk import BulkOperation, BulkSummary
from vmapi.domain.operation import Operation


@strawberry.type(name="Operation", description="A change of a VM, or a bulk action.")
class OperationType:
    """An operation, or a bulk operation without a VM, from `vmapi.domain.operation`."""

    id: strawberry.ID
    action: Action
    status: OperationStatus
    requested_by: str
    request_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @strawberry.field(description="Id of the VM; null for a bulk action.")
    @staticmethod
    def vm_id(root: strawberry.Parent[Any]) -> strawberry.ID | None:
        """Return the id of the VM."""
        return getattr(root, "vm_id", None)

    @strawberry.field(description="Id of the bulk operation that this one is part of.")
    @staticmethod
    def bulk_id(root: strawberry.Parent[Any]) -> strawberry.ID | None:
        """Return the id of the bulk operation."""
        return getattr(root, "bulk_id", None)

    @strawberry.field(description="Problem document that ended the operation; null without one.")
    @staticmethod
    def error(root: strawberry.Parent[Any]) -> JSON | None:
        """Return the problem document of the operation."""
        error = root.error
        return JSON(responses.error_document(error, api=ClientApi.GRAPHQL)) if error else None

    @strawberry.field(description="Counts and items of a bulk action; null for one VM.")
    @staticmethod
    def bulk(root: strawberry.Parent[Any]) -> JSON | None:
        """Return the member `bulk` of the operation, as in the REST API."""
        return getattr(root, "bulk", None)


def to_operation_node(operation: Operation | BulkOperation | BulkSummary) -> object:
    """Return the object that `OperationType` reads."""
    if isinstance(operation, Operation):
        return operation
    if isinstance(operation, BulkSummary):
        summary, document = operation, responses.bulk_summary_document(operation)
    else:
        summary = operation.summarize()
        document = responses.bulk_document(operation, ClientApi.GRAPHQL)
    values = {field.name: getattr(summary, field.name) for field in fields(summary)}
    return SimpleNamespace(**values, bulk=document["bulk"])


@strawberry.type(name="Flavor", description="A size of VMs.")
class FlavorType:
    """A size of VMs."""

    id: strawberry.ID
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int


@strawberry.type(name="Image", description="A boot image of VMs.")
class ImageType:
    """A boot image of VMs."""

    id: strawberry.ID
    name: str
    status: str
    min_disk_gb: int
    min_ram_mb: int


@strawberry.type(name="Network", description="A network that assigns addresses to VMs.")
class NetworkType:
    """A network that assigns addresses to VMs."""

    id: strawberry.ID
    name: str


@strawberry.type(name="QuotaUsage", description="Usage and limit of one resource.")
class QuotaUsageType:
    """Usage and limit of one resource."""

    used: int
    limit: int | None
    limited_by: LimitSource | None


@strawberry.type(name="Quota", description="The quota of the project and its usage.")
class QuotaType:
    """The quota of the project and its usage."""

    vms: QuotaUsageType
    vcpus: QuotaUsageType
    ram_mb: QuotaUsageType
