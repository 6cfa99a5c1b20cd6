"""A blueprint with the responses and headers that all VM endpoints share."""

from collections.abc import Callable
from typing import Any

from marshmallow import Schema

from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import OPERATION_PROBLEMS, Blueprint
from vmapi.api.openapi.headers import CHANGE_HEADERS, READ_HEADERS
from vmapi.api.openapi.permissions import View
from vmapi.api.schemas.vms import VMSchema


class VMBlueprint(Blueprint):
    """Declares the reads and the changes of VMs."""

    REPLAYABLE_PROBLEMS = ("vm_not_found", *OPERATION_PROBLEMS)
    CHANGE_VARIANT = "vm_change"

    def vm_response(self, schema: Schema, example: Any) -> Callable[[View], View]:
        """Declare a read of a VM: 200, or 304 if the client has the current version."""
        not_modified = self.alt_response(
            304, headers=READ_HEADERS, description="The client has the current version"
        )
        ok = self.response(200, schema, example=example, headers=READ_HEADERS)
        request_headers = self.request_headers("If-None-Match", "Cache-Control")
        return lambda view: request_headers(ok(not_modified(view)))

    def vm_change_responses(
        self,
        finished_status: int,
        *headers: str,
        creates: bool = False,
        in_progress_example: Any = examples.BUSY_VM,
    ) -> Callable[[View], View]:
        """Declare a change of a VM: the finished response, and 202 while it is in progress.

        A change that `creates` a VM takes no `If-Match`.
        """
        common = (*CHANGE_HEADERS, *headers)
        finished = self._finished_response(finished_status, common)
        accepted = self.alt_response(
            202,
            VMSchema(),
            example=in_progress_example,
            headers=(*common, "ETag", "Retry-After"),
            description="The operation is in progress",
        )
        conditions = () if creates else ("If-Match",)
        request_headers = self.request_headers("Idempotency-Key", "Prefer", *conditions)
        return lambda view: request_headers(finished(accepted(view)))

    def _finished_response(self, status: int, headers: tuple[str, ...]) -> Callable[[View], View]:
        has_body = status != 204
        return self.response(
            status,
            VMSchema() if has_body else None,
            example=examples.VM if has_body else None,
            headers=(*headers, "ETag") if has_body else headers,
            description="The operation is finished",
        )
