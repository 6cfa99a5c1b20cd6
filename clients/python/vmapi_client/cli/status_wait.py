"""Wait for a status of several VMs side by side, within one deadline."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from vmapi_client.cli.bulk import as_deleted
from vmapi_client.cli.changes import CONCURRENT_CHANGES, Result
from vmapi_client.cli.progress import Progress
from vmapi_client.core.calls.waits import describe_fault
from vmapi_client.core.deadline import Deadline, growing_pauses
from vmapi_client.errors import (
    DeadlineExceeded,
    ResponseTimeout,
    VmapiError,
    VMFailed,
    VmNotFound,
)

if TYPE_CHECKING:
    from vmapi_client.models import VM
    from vmapi_client.sync.client import Client

FIRST_ROUND_SECONDS = 0.1
LONGEST_ROUND_SECONDS = 2.0
"""The longest pause between two rounds of reads; a read of an unchanged VM is a 304."""


class StatusWait:
    """Reads VMs in rounds until each has the status, or cannot reach it."""

    def __init__(
        self, client: "Client", target: str, deadline: Deadline, progress: Progress
    ) -> None:
        self._client = client
        self._target = target
        self._deadline = deadline
        self._progress = progress

    def run(self, vms: Sequence["VM"]) -> list[Result]:
        """Wait, and return the results in order."""
        results: dict[str, Result] = {}
        pending = {vm.id: vm for vm in vms}
        pool = ThreadPoolExecutor(CONCURRENT_CHANGES)
        try:
            with self._progress:
                for pause in growing_pauses(FIRST_ROUND_SECONDS, LONGEST_ROUND_SECONDS):
                    for outcome in pool.map(self._check, list(pending.values())):
                        if isinstance(outcome, Result):
                            self._progress.report(outcome.name, outcome.describe())
                            results[outcome.vm_id] = outcome
                            del pending[outcome.vm_id]
                        else:
                            pending[outcome.id] = outcome
                    if not pending or pause >= self._deadline.remaining:
                        break
                    time.sleep(pause)
        finally:
            # after Ctrl-C no thread delays the end
            pool.shutdown(wait=False, cancel_futures=True)
        late = {vm.id: self._build_late(vm) for vm in pending.values()}
        return [results.get(vm.id) or late[vm.id] for vm in vms]

    def _check(self, vm: "VM") -> "Result | VM":
        """Read a VM. Return it until its wait ends, then the result."""
        try:
            current = self._client.vms.get(vm)
        except (DeadlineExceeded, ResponseTimeout):
            return vm
        except VmNotFound as error:
            if self._target == "DELETED":
                return Result(vm.name, as_deleted(vm), vm_id=vm.id)
            return Result(vm.name, None, error, vm_id=vm.id)
        except VmapiError as error:
            return Result(vm.name, None, error, vm_id=vm.id)
        if current.task is None and current.status == self._target:
            return Result(vm.name, current, vm_id=vm.id)
        if current.task is None and current.status == "ERROR" and self._target != "DELETED":
            failed = VMFailed(describe_fault(current), vm=current)
            return Result(vm.name, None, failed, vm_id=vm.id)
        return current

    def _build_late(self, vm: "VM") -> Result:
        task = f" with the task {vm.task}" if vm.task else ""
        late = DeadlineExceeded(
            f"VM {vm.id} is {vm.status}{task}, and not {self._target}, "
            f"after {self._deadline.seconds:g} s."
        )
        return Result(vm.name, None, late, vm_id=vm.id)
