"""The queries of the schema. Each calls the service that the REST view calls."""

from dataclasses import asdict
from typing import Any

import strawberry
from marshmallow import Schema

from vmapi.api.graphql.documents.limits import DEFAULT_FIRST
from vmapi.api.graphql.state import ExecutionState
from vmapi.api.graphql.types.connections import (
    ConnectionPage,
    OperationConnection,
    QueryParams,
    build_page_request,
)
from vmapi.api.graphql.types.events import EventConnection, read_event_page
from vmapi.api.graphql.types.inputs import (
    EventFilter,
    OperationFilter,
    VMFilter,
    load_arguments,
    to_members,
)
from vmapi.api.graphql.types.objects import (
    FlavorType,
    ImageType,
    NetworkType,
    OperationType,
    QuotaType,
    QuotaUsageType,
    to_operation_node,
)
from vmapi.api.graphql.types.vms import TaggedVM, VMConnection, VMType
from vmapi.api.request.caller import current_project, current_scope, current_user
from vmapi.api.request.context import current_services
from vmapi.api.schemas.operations import OperationQuerySchema
from vmapi.api.schemas.vms import VMQuerySchema

VM_QUERY = VMQuerySchema()
OPERATION_QUERY = OperationQuerySchema()


@strawberry.type(description="Reads of VMs, operations, events, the catalog and the quota.")
class Query:
    """The queries of the schema."""

    @strawberry.field(description="A VM, by its id.", graphql_type=VMType | None)
    @staticmethod
    def vm(id: strawberry.ID) -> Any:
        """Return a VM with its entity tag."""
        snapshot = current_services().vms.get(id, current_scope())
        return TaggedVM(snapshot.vm, snapshot.etag)

    @strawberry.field(description="A page of VMs.", graphql_type=VMConnection | None)
    @staticmethod
    def vms(
        info: strawberry.Info[ExecutionState],
        first: int = DEFAULT_FIRST,
        after: str | None = None,
        filter: VMFilter | None = None,
        sort: str = "-created_at",
    ) -> Any:
        """Return a page of VMs."""
        params = {**_to_params(filter), "sort": [sort]}
        query, _ = _load(VM_QUERY, params)
        page_request = build_page_request("vms", first, after, params)
        listing = current_services().vms.list(query, page_request, current_scope())
        info.context.begin_page((vm.id for vm in listing.vms), (query, page_request))
        return ConnectionPage(listing.page, "vms", query.sort.removeprefix("-"), params)

    @strawberry.field(description="An operation, by its id.", graphql_type=OperationType | None)
    @staticmethod
    def operation(id: strawberry.ID) -> Any:
        """Return an operation or a bulk operation."""
        operation = current_services().operations.get(id, current_scope(), current_user())
        return to_operation_node(operation)

    @strawberry.field(description="A page of operations.", graphql_type=OperationConnection | None)
    @staticmethod
    def operations(
        first: int = DEFAULT_FIRST,
        after: str | None = None,
        filter: OperationFilter | None = None,
    ) -> Any:
        """Return a page of operations, the newest first."""
        params = _to_params(filter)
        query, _ = _load(OPERATION_QUERY, params)
        page_request = build_page_request("operations", first, after, params)
        page = current_services().operations.list(query, page_request, current_scope())
        return ConnectionPage(page, "operations", "created_at", params)

    @strawberry.field(
        description="A page of stored events, the oldest first.",
        graphql_type=EventConnection | None,
    )
    @staticmethod
    def events(
        info: strawberry.Info[ExecutionState],
        first: int = DEFAULT_FIRST,
        after: str | None = None,
        filter: EventFilter | None = None,
    ) -> Any:
        """Return a page of stored events."""
        page = read_event_page(first, after, filter)
        info.context.begin_page(event.vm.id for event in page.events if event.vm)
        return page

    @strawberry.field(description="All flavors.", graphql_type=list[FlavorType] | None)
    @staticmethod
    def flavors() -> Any:
        """Return all flavors."""
        return current_services().catalog.list_flavors(current_scope())

    @strawberry.field(description="All images.", graphql_type=list[ImageType] | None)
    @staticmethod
    def images() -> Any:
        """Return all images."""
        return current_services().catalog.list_images(current_scope())

    @strawberry.field(description="All networks.", graphql_type=list[NetworkType] | None)
    @staticmethod
    def networks() -> Any:
        """Return all networks."""
        return current_services().catalog.list_networks(current_scope())

    @strawberry.field(description="The quota of the project and its usage.")
    @staticmethod
    def quota() -> QuotaType | None:
        """Return the quota of the project."""
        quota, _ = current_services().quotas.get(current_project())
        usages = {}
        for kind, used in asdict(quota.used).items():
            limit, source = quota.get_lower_limit(kind)
            usages[kind] = QuotaUsageType(used=used, limit=limit, limited_by=source)
        return QuotaType(**usages)


def _to_params(filters: VMFilter | OperationFilter | None) -> dict[str, list[str]]:
    """Return filters as the query parameters of the REST list."""
    members = to_members(filters)
    return {name: value if isinstance(value, list) else [value] for name, value in members.items()}


def _load(schema: Schema, params: QueryParams) -> Any:
    """Return the values that a schema loads. Raises ValidationFailed."""
    return load_arguments(
        schema,
        {
            name: values if name == "status" and schema is VM_QUERY else values[0]
            for name, values in params.items()
        },
    )
