"""A blueprint with the responses and headers that all VM endpoints share."""

from collections.abc import Callable
from typing import Any

from marshmallow import Schema

from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import OPERATION_PROBLEMS, Blueprint
from vmapi.api.openapi.headers import (
    CACHE_CONTROL_HEADER,
    ETAG_HEADER,
    IDEMPOTENCY_KEY_HEADER,
    IDEMPOTENT_REPLAYED_HEADER,
    IF_MATCH_HEADER,
    IF_NONE_MATCH_HEADER,
    OPERATION_LOCATION_HEADER,
    PREFER_HEADER,
    PREFERENCE_APPLIED_HEADER,
    READ_HEADERS,
    RETRY_AFTER_HEADER,
)
from vmapi.api.openapi.permissions import View
from vmapi.api.schemas.vms import VMSchema

CHANGE_HEADERS = {
    **OPERATION_LOCATION_HEADER,
    **IDEMPOTENT_REPLAYED_HEADER,
    **PREFERENCE_APPLIED_HEADER,
}


class VMBlueprint(Blueprint):
    """Declares the reads and the changes of VMs."""

    REPLAYABLE_PROBLEMS = ("vm_not_found", *OPERATION_PROBLEMS)

    def vm_response(self, schema: Schema, example: Any) -> Callable[[View], View]:
        """Declare a read of a VM: 200, or 304 if the client has the current version."""
        not_modified = self.alt_response(
            304, headers=READ_HEADERS, description="The client has the current version"
        )
        ok = self.response(200, schema, example=example, headers=READ_HEADERS)
        request_headers = self.request_headers(IF_NONE_MATCH_HEADER, CACHE_CONTROL_HEADER)
        return lambda view: request_headers(ok(not_modified(view)))

    def vm_change_responses(
        self,
        finished_status: int,
        *,
        creates: bool = False,
        in_progress_example: Any = examples.BUSY_VM,
        **headers: Any,
    ) -> Callable[[View], View]:
        """Declare a change of a VM: the finished response, and 202 while it is in progress.

        A change that `creates` a VM takes no `If-Match`.
        """
        common = {**CHANGE_HEADERS, **headers}
        has_body = finished_status != 204
        finished = self.response(
            finished_status,
            VMSchema() if has_body else None,
            example=examples.VM if has_body else None,
            headers={**common, **ETAG_HEADER} if has_body else common,
            description="The operation is finished",
        )
        accepted = self.alt_response(
            202,
            VMSchema(),
            example=in_progress_example,
            headers={**common, **ETAG_HEADER, **RETRY_AFTER_HEADER},
            description="The operation is in progress",
        )
        conditions = () if creates else (IF_MATCH_HEADER,)
        request_headers = self.request_headers(IDEMPOTENCY_KEY_HEADER, PREFER_HEADER, *conditions)
        return lambda view: request_headers(finished(accepted(view)))
