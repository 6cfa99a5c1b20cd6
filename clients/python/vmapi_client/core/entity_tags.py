"""VMs that were read before, to be read again with `If-None-Match`."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import replace
from threading import Lock

from vmapi_client.models import VM

MAX_CACHED_VMS = 1000


class VMCache:
    """The newest VMs with an entity tag, by id. Threads may share it.

    Callers get copies: `metadata` is a dictionary that they may change.
    """

    def __init__(self, size: int = MAX_CACHED_VMS) -> None:
        self._size = size
        self._vms: OrderedDict[str, VM] = OrderedDict()
        self._lock = Lock()

    def find(self, vm_id: str) -> VM | None:
        """Return the VM with an id, if it is cached."""
        with self._lock:
            vm = self._vms.get(vm_id)
        return None if vm is None else deepcopy(vm)

    def save(self, vm: VM) -> None:
        """Save a VM that has an entity tag; drop the oldest one beyond the size."""
        if vm.etag is None:
            return
        # a read is no change
        copy = deepcopy(replace(vm, operation_id=None))
        with self._lock:
            self._vms[vm.id] = copy
            self._vms.move_to_end(vm.id)
            if len(self._vms) > self._size:
                self._vms.popitem(last=False)
