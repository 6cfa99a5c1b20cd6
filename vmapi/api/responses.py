"""Turning what the services return into JSON, in the shapes of the schemas."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from flask import Response
from marshmallow import Schema

from vmapi import errors
from vmapi.api.problems import responses as problems
from vmapi.api.request.conditional import if_none_match_matches
from vmapi.api.request.context import operation_url, preference_applied, set_logged_vm, vm_url
from vmapi.api.schemas.pagination import page_metadata
from vmapi.domain.object_cache import ObjectCache
from vmapi.domain.operation import Operation
from vmapi.domain.pagination import Page
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.services.operations.change import ChangeResult

CHANGE_RETRY_AFTER = "1"
"""Seconds after which a change that is under way is worth another look."""


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(body), status, headers, mimetype="application/json")


def vm_document(shown: VM) -> dict[str, Any]:
    """Return a VM as the API shows it."""
    return {
        "id": shown.id,
        "name": shown.name,
        "flavor": shown.flavor,
        "image": shown.image,
        "status": shown.status,
        "task": shown.task,
        "allowed_actions": shown.allowed_actions,
        "ip_address": shown.ip_address,
        "addresses": [
            {"network": each.network, "ip": each.ip, "version": each.version, "type": each.type}
            for each in shown.addresses
        ],
        "metadata": dict(shown.metadata),
        "key_name": shown.key_name,
        "security_groups": shown.security_groups,
        "locked": shown.locked,
        "fault": asdict(shown.fault) if shown.fault else None,
        "backend_status": shown.backend_status,
        "created_at": format_timestamp(shown.created_at),
        "updated_at": format_timestamp(shown.updated_at),
    }


_VM_JSON: ObjectCache[VM, bytes] = ObjectCache(lambda vm: orjson.dumps(vm_document(vm)))


def vm_json(shown: VM) -> orjson.Fragment:
    """Return the JSON of a VM; an object of the inventory's cache is rendered once."""
    return orjson.Fragment(_VM_JSON.get(shown))


def vm_status_document(shown: VM) -> dict[str, Any]:
    """Return the little of a VM that is worth polling."""
    return {
        "vm_id": shown.id,
        "status": shown.status,
        "task": shown.task,
        "updated_at": format_timestamp(shown.updated_at),
    }


def operation_document(found: Operation) -> dict[str, Any]:
    """Return an operation as the API shows it."""
    failure = found.error
    error = None
    if failure is not None:
        cls = errors.error_class(failure.code)
        error = problems.problem_document(cls(failure.detail, **failure.extra))
    return {
        "id": found.id,
        "action": found.action,
        "vm_id": found.vm_id,
        "status": found.status,
        "error": error,
        "requested_by": found.requested_by,
        "request_id": found.request_id,
        "created_at": format_timestamp(found.created_at),
        "started_at": found.started_at and format_timestamp(found.started_at),
        "finished_at": found.finished_at and format_timestamp(found.finished_at),
    }


def age_header(seconds: float | None) -> dict[str, str]:
    """Return the header that says how old an answer is (RFC 9111, section 5.1)."""
    return {"Age": str(int(seconds or 0))}


def vm_response(found: VMSnapshot, body: object) -> Response:
    """Answer a read of a VM; with 304 who has it as it is (RFC 9110, section 15.4.5)."""
    etag = found.etag
    headers = {
        **age_header(found.age_seconds),
        **_etag_header(etag),
        "Cache-Control": "private, no-cache",
    }
    if if_none_match_matches(etag):
        return _no_content(304, headers)
    return json_response(body, headers=headers)


def page_response(
    found: Page[Any], items: Sequence[object], headers: dict[str, str] | None = None
) -> Response:
    """Answer with a page of a list, and where it goes on (RFC 8288)."""
    body = {"items": items, **page_metadata(found)}
    headers = dict(headers or {})
    if body["next"]:
        headers["Link"] = f'<{body["next"]}>; rel="next"'
    return json_response(body, headers=headers)


def list_response(schema: type[Schema], found: Sequence[object]) -> Response:
    """Answer with a list that has no pages."""
    return json_response({"items": schema(many=True).dump(found)})


def change_response(made: ChangeResult) -> Response:
    """Answer a change: settled with the VM as it is, or 202 while it is under way."""
    headers = {"Operation-Location": operation_url(made.operation.id)}
    headers |= preference_applied(settled=made.operation.is_finished)
    if made.replayed:
        headers["Idempotent-Replayed"] = "true"
    created = made.operation.action == "create"
    set_logged_vm(made.operation.vm_id)
    if made.snapshot is None:
        return _no_content(204, headers)
    headers |= _etag_header(made.snapshot.etag)
    if created:
        headers["Location"] = vm_url(made.snapshot.vm.id)
    if not made.operation.is_finished:
        return json_response(
            vm_document(made.snapshot.vm), 202, headers | {"Retry-After": CHANGE_RETRY_AFTER}
        )
    return json_response(vm_document(made.snapshot.vm), 201 if created else 200, headers)


def format_timestamp(moment: datetime) -> str:
    """Return a time of UTC as RFC 3339 with a Z."""
    return f"{moment.isoformat()[:-6]}Z"


def _etag_header(etag: str | None) -> dict[str, str]:
    return {"ETag": etag} if etag else {}


def _no_content(status: int, headers: dict[str, str]) -> Response:
    bare = Response(status=status, headers=headers)
    del bare.headers["Content-Type"]
    return bare
