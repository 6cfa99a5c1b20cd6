"""The calls on VMs."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vmapi_client.core.calls.session import (
    CallSession,
    ChangeOptions,
    build_query,
    id_of,
    vm_path,
    with_headers,
)
from vmapi_client.core.exchange import Plan, Request, Response
from vmapi_client.errors import PreconditionFailed, ProblemError
from vmapi_client.errors.codes import error_class
from vmapi_client.models import VM, Action, BulkResult, Console, Problem

NO_CACHE = {"Cache-Control": "no-cache"}


class VMCalls:
    """Plans of the calls on VMs."""

    def __init__(self, session: CallSession) -> None:
        self._session = session

    def list_request(self, **filters: Any) -> Request:
        """Return the request of the first page of VMs."""
        return Request("GET", "/vms", build_query(**filters))

    def get(self, vm: VM | str, *, fresh: bool = False, timeout: float | None = None) -> Plan[VM]:
        """Read a VM; vmapi sends nothing but a 304 if the cached one is current."""
        request = Request("GET", vm_path(vm), headers=NO_CACHE if fresh else {})
        cached = self._session.vms.find(id_of(vm))
        if cached is not None and cached.etag is not None:
            request = with_headers(request, {"If-None-Match": cached.etag})
        response = yield from self._session.read(request, timeout)
        if response.status == 304 and cached is not None:
            return cached
        return self._session.parse_vm(request, response)

    def create(self, name: str, members: Mapping[str, Any], options: ChangeOptions) -> Plan[VM]:
        """Create a VM. Raises the error of its fault if the build fails."""
        present = {member: value for member, value in members.items() if value is not None}
        request = Request("POST", "/vms", body={"name": name, **present})
        response = yield from self._session.change(request, options)
        vm = self._session.parse_vm(request, response)
        if vm.status == "ERROR":
            raise build_fault_error(vm, response.headers.get("x-request-id"))
        return vm

    def update(
        self,
        vm: VM | str,
        patch: Mapping[str, Any],
        options: ChangeOptions,
        *,
        if_unchanged: bool,
    ) -> Plan[VM]:
        """Change name or metadata; with `if_unchanged` only if the VM is as the caller read it."""
        if if_unchanged:
            etag = yield from self._current_tag(vm, options.timeout)
            options = replace(options, if_match=etag)
        body = {name: value for name, value in patch.items() if value is not None}
        request = Request("PATCH", vm_path(vm), body=body)
        response = yield from self._session.change(request, options)
        return self._session.parse_vm(request, response)

    def act(
        self, vm: VM | str, action: Action, options: ChangeOptions, body: Any = None
    ) -> Plan[VM]:
        """Send an action other than delete."""
        request = Request("POST", vm_path(vm, f"/{action}"), body=body)
        response = yield from self._session.change(request, options)
        return self._session.parse_vm(request, response)

    def delete(self, vm: VM | str, options: ChangeOptions) -> Plan[VM | None]:
        """Delete a VM. Return None if it is deleted, else the VM with the task `deleting`."""
        request = Request("DELETE", vm_path(vm))
        response = yield from self._session.change(request, options)
        return None if response.status == 204 else self._session.parse_vm(request, response)

    def console(self, vm: VM | str, lines: int | None, timeout: float | None = None) -> Plan[str]:
        """Read the console output."""
        request = Request("GET", vm_path(vm, "/console"), build_query(lines=lines))
        console = yield from self._session.read_model(Console, request, timeout)
        return console.output

    def bulk(
        self,
        action: Action,
        ids: Iterable[VM | str] | None,
        filters: Mapping[str, Any] | None,
        options: ChangeOptions,
    ) -> Plan[BulkResult]:
        """Perform an action on many VMs."""
        request = Request("POST", "/vms/actions", body=bulk_body(action, ids, filters))
        response: Response = yield from self._session.change(request, options)
        result = self._session.parse(request, response, BulkResult.from_json)
        return with_request_ids(result, response.headers.get("x-request-id"))

    def _current_tag(self, vm: VM | str, timeout: float | None) -> Plan[str]:
        if not isinstance(vm, VM):
            raise ValueError("if_unchanged needs the VM as it was read, not its id")
        if vm.etag is not None:
            return vm.etag
        # lists have no entity tags: a VM with the same members has the right one
        current = yield from self.get(vm, timeout=timeout)
        if current != vm or current.etag is None:
            raise PreconditionFailed(changed_vm_problem(current))
        return current.etag


def bulk_body(
    action: Action, ids: Iterable[VM | str] | None, filters: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the body of a bulk action. Raises ValueError unless it has ids or a filter."""
    if (ids is None) == (filters is None):
        raise ValueError("a bulk action needs either ids or a filter")
    if ids is not None:
        vms = [ids] if isinstance(ids, (str, VM)) else ids
        return {"action": action, "ids": [id_of(vm) for vm in vms]}
    return {"action": action, "filter": dict(filters or {})}


def with_request_ids(result: BulkResult, request_id: str | None) -> BulkResult:
    """Return a result in which the refusals of VMs have the id of the request."""
    items = (
        replace(item, error=replace(item.error, request_id=item.error.request_id or request_id))
        if item.error
        else item
        for item in result.items
    )
    return replace(result, items=tuple(items))


def build_fault_error(vm: VM, request_id: str | None) -> ProblemError:
    """Return the error of a failed build; the VM exists and has to be deleted."""
    code = vm.fault.code if vm.fault else "build_failed"
    status = 503 if code == "no_capacity" else 502
    detail = vm.fault.message if vm.fault else f"VM {vm.name} is in ERROR."
    problem = Problem(
        type=f"/problems/{code}",
        title="The build of the VM failed",
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
        vm_id=vm.id,
        hint=vm.fault.hint if vm.fault else None,
    )
    advice = f"VM {vm.name} ({vm.id}) exists in ERROR: delete it."
    return error_class(code, status)(problem, advice=advice, vm=vm)


def changed_vm_problem(current: VM) -> Problem:
    """Return the problem of a VM that is not as the caller read it."""
    return Problem(
        type="/problems/precondition_failed",
        title="The VM has changed",
        status=412,
        code="precondition_failed",
        detail=f"VM {current.name} has changed since it was read. Nothing was done.",
        vm_id=current.id,
        etag=current.etag,
    )
