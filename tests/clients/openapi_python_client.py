"""The life of a VM through the client of openapi-python-client.

The test runs this script in the environment of the generated package `vmapi_client`.
"""

import os
from typing import Any, TypeVar
from uuid import UUID

from vmapi_client import AuthenticatedClient
from vmapi_client.api.bulk import act_on_vms
from vmapi_client.api.vms import (
    create_vm,
    delete_vm,
    get_vm,
    list_vms,
    pause_vm,
    restart_vm,
    resume_vm,
    start_vm,
    stop_vm,
    update_vm,
)
from vmapi_client.models import (
    VM,
    BulkAccepted,
    BulkActionByIds,
    BulkResponse,
    CreateVM,
    CreateVMMetadata,
    Problem,
    UpdateVM,
    UpdateVMMetadata,
    VMAction,
    VMList,
    VMSortKey,
    VMStatus,
)

Body = TypeVar("Body")
NAME = "client-python"
WAIT = "wait=30"


def body_of(response: Any, status: int, body_type: type[Body]) -> Body:
    assert response.status_code == status, response
    assert isinstance(response.parsed, body_type), response
    return response.parsed


def create(client: AuthenticatedClient, name: str) -> VM:
    metadata = CreateVMMetadata.from_dict({"env": "test"})
    body = CreateVM(name=name, flavor="m1.tiny", image="cirros", metadata=metadata)
    return body_of(create_vm.sync_detailed(client=client, body=body, prefer=WAIT), 201, VM)


def check_life(client: AuthenticatedClient) -> None:
    vm = create(client, NAME)
    assert (vm.name, vm.status, vm.task) == (NAME, VMStatus.STOPPED, None)
    listing = list_vms.sync_detailed(
        client=client,
        name=f"{NAME}*",
        status=[VMStatus.STOPPED],
        sort=VMSortKey("-created_at"),
    )
    assert [item.id for item in body_of(listing, 200, VMList).items] == [vm.id]
    shown = body_of(get_vm.sync_detailed(vm.id, client=client), 200, VM)
    assert shown.metadata.to_dict() == {"env": "test"}
    assert VMAction.START in shown.allowed_actions
    statuses = [
        body_of(action.sync_detailed(vm.id, client=client, prefer=WAIT), 200, VM).status.value
        for action in (start_vm, pause_vm, resume_vm, restart_vm, stop_vm)
    ]
    assert statuses == ["RUNNING", "PAUSED", "RUNNING", "RUNNING", "STOPPED"]
    patch = UpdateVM(metadata=UpdateVMMetadata.from_dict({"env": None, "owner": "me"}))
    updated = update_vm.sync_detailed(vm.id, client=client, body=patch, prefer=WAIT)
    assert body_of(updated, 200, VM).metadata.to_dict() == {"owner": "me"}
    assert delete_vm.sync_detailed(vm.id, client=client, prefer=WAIT).status_code == 204
    missing = body_of(get_vm.sync_detailed(vm.id, client=client), 404, Problem)
    assert missing.code == "vm_not_found"


def check_bulk_delete(client: AuthenticatedClient, vm_id: UUID) -> None:
    body = BulkActionByIds(action=VMAction.DELETE, ids=[str(vm_id)])
    response = act_on_vms.sync_detailed(client=client, body=body, prefer=WAIT)
    (item,) = body_of(response, 200, BulkResponse).items
    assert isinstance(item, BulkAccepted)
    assert item.operation.action.value == "delete"


def main() -> None:
    client = AuthenticatedClient(
        base_url=os.environ["VMAPI_URL"],
        token=os.environ["VMAPI_TOKEN"],
        raise_on_unexpected_status=True,
    )
    check_life(client)
    check_bulk_delete(client, create(client, f"{NAME}-b").id)


main()
