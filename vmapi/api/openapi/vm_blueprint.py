"""A blueprint that knows how VMs are read and changed."""

from collections.abc import Callable
from typing import Any

from marshmallow import Schema

from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import OPERATION_PROBLEMS, Blueprint
from vmapi.api.openapi.headers import (
    ETAG_HEADER,
    IDEMPOTENCY_KEY_HEADER,
    IDEMPOTENT_REPLAYED_HEADER,
    OPERATION_LOCATION_HEADER,
    PREFER_HEADER,
    PREFERENCE_APPLIED_HEADER,
    RETRY_AFTER_HEADER,
)
from vmapi.api.openapi.permissions import View
from vmapi.api.schemas.vms import VMSchema

ETAGS_PATTERN = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
ETAGS_PARAMETER = {
    "schema": {"type": "string", "pattern": ETAGS_PATTERN},
    "example": '"3-730eefdc4dbea94c"',
}
IF_MATCH_HEADER = {
    "in": "header",
    "name": "If-Match",
    "description": "`ETag`s: nothing is done unless the VM has one of them; `*` for any.",
    **ETAGS_PARAMETER,
}
IF_NONE_MATCH_HEADER = {
    "in": "header",
    "name": "If-None-Match",
    "description": "`ETag`s: 304 where the VM still has one of them.",
    **ETAGS_PARAMETER,
}
CACHE_CONTROL_HEADER = {
    "in": "header",
    "name": "Cache-Control",
    "description": "`no-cache` has the cloud asked first.",
    "schema": {"type": "string"},
}
AGE_HEADER = {"Age": {"schema": {"type": "integer"}, "description": "seconds since this was true"}}
READ_HEADERS = {**ETAG_HEADER, **AGE_HEADER, "Cache-Control": {"schema": {"type": "string"}}}


class VMBlueprint(Blueprint):
    """Documents the headers that go with a VM."""

    REPLAYABLE_PROBLEMS = ("vm_not_found", *OPERATION_PROBLEMS)

    def vm_response(self, schema: Schema, example: Any) -> Callable[[View], View]:
        """Document a read of a VM, which is 304 for who has it already."""
        has = self.also_answers(304, headers=READ_HEADERS, description="As the client has it")
        shown = self.answers(200, schema, example=example, headers=READ_HEADERS)
        heeds = self.request_headers(IF_NONE_MATCH_HEADER, CACHE_CONTROL_HEADER)
        return lambda view: heeds(shown(has(view)))

    def vm_change_responses(
        self, settled: int, *, creates: bool = False, busy: Any = examples.BUSY_VM, **headers: Any
    ) -> Callable[[View], View]:
        """Document a change that is answered with the VM: settled, or still under way.

        One that makes a VM `anew` is for no VM that a client has seen.
        """
        head = {
            **OPERATION_LOCATION_HEADER,
            **IDEMPOTENT_REPLAYED_HEADER,
            **PREFERENCE_APPLIED_HEADER,
            **headers,
        }
        schema, example = (None, None) if settled == 204 else (VMSchema(), examples.VM)
        done = self.answers(
            settled,
            schema,
            example=example,
            headers=head if schema is None else {**head, **ETAG_HEADER},
            description="Settled",
        )
        under_way = self.also_answers(
            202,
            VMSchema(),
            example=busy,
            headers={**head, **ETAG_HEADER, **RETRY_AFTER_HEADER},
            description="Still under way",
        )
        heeded = (
            (IDEMPOTENCY_KEY_HEADER, PREFER_HEADER)
            if creates
            else (IDEMPOTENCY_KEY_HEADER, PREFER_HEADER, IF_MATCH_HEADER)
        )
        heeds = self.request_headers(*heeded)
        return lambda view: heeds(done(under_way(view)))
