"""VMs: the calls of the client with threads."""

from collections.abc import Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from vmapi_client.core.calls.session import CallSession, ChangeOptions, as_list
from vmapi_client.core.calls.vms import VMCalls
from vmapi_client.core.calls.waits import WaitCalls
from vmapi_client.http.transport import Transport
from vmapi_client.models import VM, Action, BulkResult, RestartType, SortKey, Status
from vmapi_client.sync.pages import iterate_pages


class VMs:
    """Calls on VMs. `vm` is a VM or its id.

    Each change is carried out once, however often it is repeated. It ends within `timeout` seconds
    or raises an error with `idempotency_key`. With `wait` it ends when the change is finished.
    """

    def __init__(self, session: CallSession, transport: Transport) -> None:
        self._session = session
        self._run = transport.run
        self._calls = VMCalls(session)
        self._waits = WaitCalls(session, self._calls)

    def list(
        self,
        *,
        name: str | None = None,
        status: Status | Iterable[Status] | None = None,
        flavor: str | None = None,
        image: str | None = None,
        selector: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        updated_after: datetime | None = None,
        sort: SortKey | None = None,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Generator[VM, None, None]:
        """Return an iterator over all VMs that match; it reads page by page.

        `selector` has conditions on the metadata: `env=prod,tier!=db,owner,!legacy`.
        """
        request = self._calls.list_request(
            name=name,
            status=status,
            flavor=flavor,
            image=image,
            selector=selector,
            created_after=created_after,
            created_before=created_before,
            updated_after=updated_after,
            sort=sort,
            page_size=page_size,
        )
        return iterate_pages(self._session, self._run, VM, request, timeout)

    def find(self, name: str, *, timeout: float | None = None) -> Generator[VM, None, None]:
        """Return an iterator over the VMs with a name; `web-*` is a prefix."""
        return self.list(name=name, timeout=timeout)

    def get(self, vm: VM | str, *, fresh: bool = False, timeout: float | None = None) -> VM:
        """Read a VM. With `fresh`, vmapi asks the cloud first."""
        return self._run(self._calls.get(vm, fresh=fresh, timeout=timeout))

    def create(
        self,
        name: str,
        *,
        flavor: str,
        image: str,
        network: str | None = None,
        start: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        user_data: str | None = None,
        ssh_keys: str | Iterable[str] | None = None,
        key_name: str | None = None,
        security_groups: str | Iterable[str] | None = None,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Create a VM. Raises BuildFailed or NoCapacity, with `vm`, if the build fails."""
        members: dict[str, Any] = {
            "flavor": flavor,
            "image": image,
            "network": network,
            "start": start,
            "metadata": metadata,
            "user_data": user_data,
            "ssh_keys": as_list(ssh_keys),
            "key_name": key_name,
            "security_groups": as_list(security_groups),
        }
        options = ChangeOptions(wait, timeout, idempotency_key)
        return self._run(self._calls.create(name, members, options))

    def update(
        self,
        vm: VM | str,
        *,
        name: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        if_unchanged: bool = False,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Change the name, or single metadata keys; None removes a key.

        With `if_unchanged`, it raises PreconditionFailed if the VM is not as `vm` shows it.
        """
        patch = {"name": name, "metadata": None if metadata is None else dict(metadata)}
        options = ChangeOptions(wait, timeout, idempotency_key)
        return self._run(self._calls.update(vm, patch, options, if_unchanged=if_unchanged))

    def start(
        self,
        vm: VM | str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Start a STOPPED VM."""
        return self._act(vm, "start", ChangeOptions(wait, timeout, idempotency_key))

    def stop(
        self,
        vm: VM | str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Stop a RUNNING or PAUSED VM."""
        return self._act(vm, "stop", ChangeOptions(wait, timeout, idempotency_key))

    def restart(
        self,
        vm: VM | str,
        *,
        type: RestartType | None = None,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Restart a RUNNING VM; `type` is soft by default, and hard on a VM in ERROR."""
        options = ChangeOptions(wait, timeout, idempotency_key)
        return self._act(vm, "restart", options, None if type is None else {"type": type})

    def pause(
        self,
        vm: VM | str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Pause a RUNNING VM."""
        return self._act(vm, "pause", ChangeOptions(wait, timeout, idempotency_key))

    def resume(
        self,
        vm: VM | str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM:
        """Resume a PAUSED VM."""
        return self._act(vm, "resume", ChangeOptions(wait, timeout, idempotency_key))

    def delete(
        self,
        vm: VM | str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> VM | None:
        """Delete a VM. Return None if it is deleted, else the VM that is being deleted."""
        options = ChangeOptions(wait, timeout, idempotency_key)
        return self._run(self._calls.delete(vm, options))

    def bulk(
        self,
        action: Action,
        ids: Iterable[VM | str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> BulkResult:
        """Perform an action on up to 1,000 VMs, or on those that match the filters of a list."""
        options = ChangeOptions(wait, timeout, idempotency_key)
        return self._run(self._calls.bulk(action, ids, filter, options))

    def console(
        self, vm: VM | str, *, lines: int | None = None, timeout: float | None = None
    ) -> str:
        """Return the last lines of the console, or all of them."""
        return self._run(self._calls.console(vm, lines, timeout))

    def wait_for(
        self,
        vm: VM | str,
        status: Literal["STOPPED", "RUNNING", "PAUSED", "ERROR"],
        *,
        timeout: float | None = None,
    ) -> VM:
        """Wait until a VM has a status and no task.

        Raises VMFailed if it goes into ERROR, VmNotFound if it is deleted, and DeadlineExceeded.
        """
        return self._run(self._waits.wait_for(vm, status, timeout))

    def wait_until_deleted(self, vm: VM | str, *, timeout: float | None = None) -> None:
        """Wait until a VM is deleted. Raises DeadlineExceeded."""
        self._run(self._waits.wait_until_deleted(vm, timeout))

    def _act(self, vm: VM | str, action: Action, options: ChangeOptions, body: Any = None) -> VM:
        return self._run(self._calls.act(vm, action, options, body))
