"""Build HTTP responses from the results of the services, in the shapes of the schemas.

The documents are built without marshmallow, for speed. A test compares them with the schemas that
document them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from flask import Response
from marshmallow import Schema

from vmapi import errors
from vmapi.api.problems.responses import problem_document
from vmapi.api.problems.terms import ClientApi
from vmapi.api.request.context import operation_url, set_logged_vm, vm_url
from vmapi.api.request.headers import if_none_match_matches, preference_applied
from vmapi.api.request.versions import current_version
from vmapi.api.schemas.pagination import page_metadata
from vmapi.domain.bulk import BulkItem, BulkOperation, BulkSummary
from vmapi.domain.object_cache import ObjectCache
from vmapi.domain.operation import Operation, OperationError
from vmapi.domain.pagination import Page
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.timestamps import format_rfc3339
from vmapi.domain.vm import VM
from vmapi.services.operations.results import ChangeResult

CHANGE_RETRY_AFTER = "1"
"""`Retry-After` of a change in progress, in seconds."""

NO_VM_SELECTED_DETAIL = "The filter selects no VM: nothing was done."


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Build a JSON response."""
    return Response(orjson.dumps(body), status, headers, content_type="application/json")


def vm_document(vm: VM) -> dict[str, Any]:
    """Return the JSON members of a VM, as in `VMSchema`."""
    return {
        "id": vm.id,
        "name": vm.name,
        "flavor": vm.flavor,
        "image": vm.image,
        "status": vm.status,
        "task": vm.task,
        "allowed_actions": vm.allowed_actions,
        "ip_address": vm.ip_address,
        "addresses": [
            {
                "network": address.network,
                "ip": address.ip,
                "version": address.version,
                "type": address.type,
            }
            for address in vm.addresses
        ],
        "metadata": dict(vm.metadata),
        "key_name": vm.key_name,
        "security_groups": vm.security_groups,
        "locked": vm.locked,
        "fault": asdict(vm.fault) if vm.fault else None,
        "backend_status": vm.backend_status,
        "created_at": format_rfc3339(vm.created_at),
        "updated_at": format_rfc3339(vm.updated_at),
    }


def vm_json(vm: VM) -> orjson.Fragment:
    """Return the JSON of a VM; an object of the inventory's cache is rendered once."""
    return orjson.Fragment(_VM_JSON.get(vm))


_VM_JSON: ObjectCache[VM, bytes] = ObjectCache(lambda vm: orjson.dumps(vm_document(vm)))


def vm_status_document(vm: VM) -> dict[str, Any]:
    """Return the JSON members of the status of a VM, as in `VMStateSchema`."""
    return {
        "vm_id": vm.id,
        "status": vm.status,
        "task": vm.task,
        "updated_at": format_rfc3339(vm.updated_at),
    }


def operation_document(operation: Operation) -> dict[str, Any]:
    """Return the JSON members of an operation, as in `OperationSchema`."""
    return _operation_document(operation, operation.vm_id, operation.bulk_id, None)


def bulk_summary_document(bulk: BulkSummary) -> dict[str, Any]:
    """Return the JSON members of a bulk operation without its items."""
    return _operation_document(bulk, None, None, {"counts": dict(bulk.counts)})


def bulk_document(bulk: BulkOperation, api: ClientApi = ClientApi.REST) -> dict[str, Any]:
    """Return the JSON members of a bulk operation, as in `OperationSchema`."""
    document = bulk_summary_document(bulk.summarize())
    document["bulk"]["items"] = [_bulk_part_document(bulk, item, api) for item in bulk.items]
    return document


def error_document(
    error: OperationError, vm_id: str | None = None, api: ClientApi = ClientApi.REST
) -> dict[str, Any]:
    """Return the problem document of a stored error; `vm_id` is the id that the client sent."""
    restored = errors.error_class(error.code)(error.detail, **error.extra)
    return problem_document(restored, vm_id, api)


def _bulk_part_document(bulk: BulkOperation, item: BulkItem, api: ClientApi) -> dict[str, Any]:
    if item.error is not None:
        return {"vm_id": item.vm_id, "error": error_document(item.error, item.vm_id, api)}
    operation = bulk.operations.get(item.operation_id or "")
    status = {"status": operation.status} if operation else {}
    return {"vm_id": item.vm_id, "operation_id": item.operation_id, **status}


def _operation_document(
    operation: Operation | BulkSummary,
    vm_id: str | None,
    bulk_id: str | None,
    bulk: dict[str, Any] | None,
) -> dict[str, Any]:
    started_at, finished_at = operation.started_at, operation.finished_at
    return {
        "id": operation.id,
        "action": operation.action,
        "vm_id": vm_id,
        "status": operation.status,
        "error": operation.error and error_document(operation.error),
        "requested_by": operation.requested_by,
        "request_id": operation.request_id,
        "created_at": format_rfc3339(operation.created_at),
        "started_at": started_at and format_rfc3339(started_at),
        "finished_at": finished_at and format_rfc3339(finished_at),
        "bulk_id": bulk_id,
        "bulk": bulk,
    }


def age_header(seconds: float | None) -> dict[str, str]:
    """Return the `Age` header (RFC 9111, section 5.1)."""
    return {"Age": str(int(seconds or 0))}


def vm_response(snapshot: VMSnapshot, body: object) -> Response:
    """Build the response to a read of a VM: 200, or 304 if `If-None-Match` matches its ETag."""
    headers = {
        **age_header(snapshot.age_seconds),
        **_etag_header(snapshot.etag),
        "Cache-Control": "private, no-cache",
    }
    if if_none_match_matches(snapshot.etag):
        return no_content(304, headers)
    return json_response(body, headers=headers)


def page_response(
    page: Page[Any], items: Sequence[object], headers: dict[str, str] | None = None
) -> Response:
    """Build the response with one page of a list and a `Link` to the next (RFC 8288)."""
    body = {"items": items, **page_metadata(page)}
    headers = dict(headers or {})
    if body["next"]:
        headers["Link"] = f'<{body["next"]}>; rel="next"'
    return json_response(body, headers=headers)


def vm_page_response(listing: VMListing) -> Response:
    """Build the response with one page of VMs; a cached page is rendered once."""
    body, headers = _VM_PAGES[current_version().name].get(listing.page)
    headers = {**headers, **age_header(listing.age_seconds)}
    return Response(body, 200, headers, content_type="application/json")


def _render_vm_page(page: Page[VM]) -> tuple[bytes, dict[str, str]]:
    response = page_response(page, [vm_json(vm) for vm in page.items])
    link = response.headers.get("Link")
    return response.get_data(), {"Link": link} if link else {}


_VM_PAGES: defaultdict[str, ObjectCache[Page[VM], tuple[bytes, dict[str, str]]]] = defaultdict(
    lambda: ObjectCache(_render_vm_page)
)
"""By version: a page has the URL of the next one."""


def list_response(schema: type[Schema], items: Sequence[object]) -> Response:
    """Build the response with a whole list, serialized by a schema."""
    return json_response({"items": schema(many=True).dump(items)})


def change_response(result: ChangeResult) -> Response:
    """Build the response to a change: 200, 201 or 204 if it is finished, otherwise 202."""
    operation, snapshot = result.operation, result.snapshot
    headers = {"Operation-Location": operation_url(operation.id)}
    headers |= preference_applied(finished=operation.is_finished)
    if result.replayed:
        headers["Idempotent-Replayed"] = "true"
    is_create = operation.action == "create"
    set_logged_vm(operation.vm_id)
    if snapshot is None:
        return no_content(204, headers)
    headers |= _etag_header(snapshot.etag)
    if is_create:
        headers["Location"] = vm_url(snapshot.vm.id)
    body = vm_document(snapshot.vm)
    if not operation.is_finished:
        return json_response(body, 202, headers | {"Retry-After": CHANGE_RETRY_AFTER})
    return json_response(body, 201 if is_create else 200, headers)


def _etag_header(etag: str | None) -> dict[str, str]:
    return {"ETag": etag} if etag else {}


class NoContentResponse(Response):
    """A response without a body, and so without a media type."""

    default_mimetype = None


def no_content(status: int, headers: dict[str, str]) -> Response:
    """Build a response without a body."""
    return NoContentResponse(status=status, headers=headers)
