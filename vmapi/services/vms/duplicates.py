"""Deleting VMs that nobody asked for: of one create, one VM is left."""

import uuid

import structlog

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Caller
from vmapi.errors import VmapiError
from vmapi.services.vms.service import VMs
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.doubles")

USER = "vmapi"
"""By whom they are deleted, in operations and in the audit trail."""


class Doubles:
    """What comes of a create that something on the way to the cloud has sent twice."""

    def __init__(self, store: Store, vms: VMs) -> None:
        self._store = store
        self._vms = vms

    def delete(self) -> None:
        """Delete those that are known, each by an operation. Raises StoreUnavailable."""
        for double in self._store.inventory.doubles():
            about = {"vm_id": double.vm_id, "operation_id": double.operation_id}
            log.warning("a VM that nobody asked for is deleted", name=double.name, **about)
            caller = Caller(USER, request_id=f"req-{uuid.uuid4()}", project=double.project)
            try:
                self._vms.act(double.vm_id, Action.DELETE, caller)
            except VmapiError as error:
                log.warning("it could not be deleted", vm_id=double.vm_id, reason=error.detail)
