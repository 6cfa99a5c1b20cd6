"""Operations: the calls of the client with threads."""

from collections.abc import Generator, Iterable

from vmapi_client.core.calls.records import RecordCalls
from vmapi_client.core.calls.session import CallSession
from vmapi_client.core.calls.vms import VMCalls
from vmapi_client.core.calls.waits import WaitCalls
from vmapi_client.http.transport import Transport
from vmapi_client.models import Operation, OperationAction, OperationStatus
from vmapi_client.sync.pages import iterate_pages


class Operations:
    """Calls on operations, the records of changes."""

    def __init__(self, session: CallSession, transport: Transport) -> None:
        self._session = session
        self._run = transport.run
        self._calls = RecordCalls(session)
        self._waits = WaitCalls(session, VMCalls(session))

    def list(
        self,
        *,
        vm_id: str | None = None,
        action: OperationAction | None = None,
        status: OperationStatus | Iterable[OperationStatus] | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Generator[Operation, None, None]:
        """Return an iterator over the operations that match, the newest first."""
        request = self._calls.operations_request(
            vm_id=vm_id,
            action=action,
            status=status,
            request_id=request_id,
            idempotency_key=idempotency_key,
            page_size=page_size,
        )
        return iterate_pages(self._session, self._run, Operation, request, timeout)

    def get(self, operation_id: str, *, timeout: float | None = None) -> Operation:
        """Read an operation."""
        return self._run(self._calls.operation(operation_id, timeout))

    def wait(self, operation_id: str, *, timeout: float | None = None) -> Operation:
        """Wait until an operation is finished, and return it. Raises DeadlineExceeded."""
        return self._run(self._waits.wait_for_operation(operation_id, timeout))
