"""The types of VMs in the schema. Their values are objects of the domain."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import strawberry
from strawberry.scalars import JSON

from vmapi.api.graphql.documents.limits import DEFAULT_FIRST
from vmapi.api.graphql.state import ExecutionState
from vmapi.api.graphql.types.connections import (
    BaseConnection,
    BaseEdge,
    ConnectionPage,
    OperationConnection,
    build_page_request,
    list_edges,
    list_nodes,
)
from vmapi.api.graphql.types.enums import Action, Status, Task
from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_services
from vmapi.domain.operation import OperationQuery
from vmapi.domain.vm import VM


@strawberry.type(name="Address", description="One IP address of a VM.")
class AddressType:
    """One IP address of a VM."""

    network: str
    ip: str
    version: int
    type: str


@strawberry.type(name="Fault", description="The cause of status ERROR, and a suggestion.")
class FaultType:
    """The cause of status ERROR."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class TaggedVM:
    """A VM with its entity tag. Its other attributes are those of the VM."""

    vm: VM
    etag: str | None

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the VM."""
        return getattr(self.vm, name)


@strawberry.type(name="VM", description="A virtual machine.")
class VMType:
    """A virtual machine, from `vmapi.domain.vm.VM`."""

    id: strawberry.ID
    name: str
    flavor: str
    image: str | None
    status: Status
    task: Task | None
    allowed_actions: list[Action]
    ip_address: str | None
    addresses: list[AddressType]
    metadata: JSON
    key_name: str | None
    security_groups: list[str]
    locked: bool
    fault: FaultType | None
    backend_status: str
    created_at: datetime
    updated_at: datetime

    @strawberry.field(
        description="A page of the operations of the VM, the newest first.",
        graphql_type=OperationConnection | None,
    )
    @staticmethod
    def operations(
        root: strawberry.Parent[Any],
        info: strawberry.Info[ExecutionState],
        first: int = DEFAULT_FIRST,
        after: str | None = None,
    ) -> Any:
        """Return a page of the operations of the VM."""
        return _load_operations(info.context, root.id, first, after)

    @strawberry.field(description="Entity tag, for `ifMatch`; null in a list.")
    @staticmethod
    def etag(root: strawberry.Parent[Any]) -> str | None:
        """Return the entity tag of a VM that was read alone."""
        return getattr(root, "etag", None)


@strawberry.type(name="VMEdge", description="A VM of a page.")
class VMEdge(BaseEdge):
    """A VM of a page."""

    node: VMType


@strawberry.type(name="VMConnection", description="A page of VMs.")
class VMConnection(BaseConnection):
    """A page of VMs."""

    edges: list[VMEdge] = strawberry.field(resolver=list_edges)
    nodes: list[VMType] = strawberry.field(resolver=list_nodes)


def _load_operations(state: ExecutionState, vm_id: str, first: int, after: str | None) -> Any:
    """Return a page of the operations of a VM. Raises ValidationFailed."""
    params = {"vm_id": [vm_id]}
    page_request = build_page_request("operations", first, after, params)
    if after is None:
        page = state.load_operations(vm_id, first)
    else:
        query = OperationQuery(vm_id=vm_id)
        page = current_services().operations.list(query, page_request, current_scope())
    return ConnectionPage(page, "operations", "created_at", params)
