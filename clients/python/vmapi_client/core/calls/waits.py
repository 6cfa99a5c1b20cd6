"""Plans that wait for a status of a VM, or for the end of an operation."""

from collections.abc import Iterator

from vmapi_client.core.calls.session import (
    CallSession,
    id_of,
    operation_path,
    vm_path,
    with_headers,
)
from vmapi_client.core.calls.vms import VMCalls
from vmapi_client.core.deadline import Deadline, growing_pauses
from vmapi_client.core.exchange import Plan, Request, Response
from vmapi_client.errors import DeadlineExceeded, VMFailed, VmNotFound
from vmapi_client.models import VM, Operation, VMState

AWAITED_STATUSES = ("STOPPED", "RUNNING", "PAUSED", "ERROR")
FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 2.0


class WaitCalls:
    """Plans that end when something has happened."""

    def __init__(self, session: CallSession, vms: VMCalls) -> None:
        self._session = session
        self._vms = vms

    def wait_for(self, vm: VM | str, status: str, timeout: float | None) -> Plan[VM]:
        """Wait until a VM has a status and no task.

        Raises VMFailed if it goes into ERROR, VmNotFound if it is deleted, and DeadlineExceeded.
        """
        if status not in AWAITED_STATUSES:
            raise ValueError(f"status is {status!r}: it is one of {', '.join(AWAITED_STATUSES)}")
        deadline = self._session.deadline(timeout)
        states = self._poll(vm, deadline)
        while True:
            state = yield from states.read()
            if state.task is None and state.status in (status, "ERROR"):
                current = yield from self._vms.get(vm, timeout=max(deadline.remaining, 1.0))
                if current.task is None and current.status == status:
                    return current
                if current.task is None and current.status == "ERROR":
                    raise VMFailed(describe_fault(current), vm=current)
            if states.next_pause >= deadline.remaining:
                task = f" with the task {state.task}" if state.task else ""
                raise DeadlineExceeded(
                    f"VM {id_of(vm)} is {state.status}{task}, and not {status}, "
                    f"after {deadline.seconds:g} s."
                )

    def wait_until_deleted(self, vm: VM | str, timeout: float | None) -> Plan[None]:
        """Wait until a VM is deleted. Raises DeadlineExceeded."""
        deadline = self._session.deadline(timeout)
        states = self._poll(vm, deadline)
        while True:
            try:
                state = yield from states.read()
            except VmNotFound:
                return
            if states.next_pause >= deadline.remaining:
                raise DeadlineExceeded(
                    f"VM {id_of(vm)} is {state.status}, and not deleted, "
                    f"after {deadline.seconds:g} s."
                )

    def wait_for_operation(self, operation_id: str, timeout: float | None) -> Plan[Operation]:
        """Wait until an operation is finished. Raises DeadlineExceeded."""
        deadline = self._session.deadline(timeout)
        request = Request("GET", operation_path(operation_id))
        pauses, pause = growing_pauses(FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS), 0.0
        while True:
            response = yield from self._session.read_waiting(request, deadline, delay=pause)
            operation = self._session.parse(request, response, Operation.from_json)
            if operation.is_finished:
                return operation
            pause = next(pauses)
            if pause >= deadline.remaining:
                raise DeadlineExceeded(
                    f"Operation {operation_id} has not finished within {deadline.seconds:g} s."
                )

    def _poll(self, vm: VM | str, deadline: Deadline) -> "StatePoller":
        return StatePoller(self._session, Request("GET", vm_path(vm, "/status")), deadline)


class StatePoller:
    """Reads the state of one VM again and again, with entity tags and growing pauses."""

    def __init__(self, session: CallSession, request: Request, deadline: Deadline) -> None:
        self._session = session
        self._request = request
        self._deadline = deadline
        self._pauses: Iterator[float] = growing_pauses(FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS)
        self._response: Response | None = None
        self.next_pause: float = 0.0

    def read(self) -> Plan[VMState]:
        """Read the state after the pause."""
        request = self._request
        # a proxy may drop the tag
        if self._response is not None and "etag" in self._response.headers:
            request = with_headers(request, {"If-None-Match": self._response.headers["etag"]})
        timeout = max(self._deadline.remaining, 1.0)
        response = yield from self._session.read(request, timeout, delay=self.next_pause)
        self.next_pause = next(self._pauses)
        if response.status != 304 or self._response is None:
            self._response = response
        return self._session.parse(request, self._response, VMState.from_json)


def describe_fault(vm: VM) -> str:
    """Return a sentence about the fault of a VM."""
    reason = f": {vm.fault.message} ({vm.fault.code}) {vm.fault.hint}" if vm.fault else ""
    return f"VM {vm.name} ({vm.id}) is in ERROR{reason}"
