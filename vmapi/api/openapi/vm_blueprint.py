"""A blueprint that knows how VMs are read and changed."""

from collections.abc import Callable
from typing import Any

from marshmallow import Schema

from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import FAILED, Blueprint
from vmapi.api.openapi.headers import (
    ETAG,
    IDEMPOTENCY_KEY,
    IDEMPOTENT_REPLAYED,
    OPERATION_LOCATION,
    PREFER,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
)
from vmapi.api.openapi.permissions import View
from vmapi.api.schemas.vms import VMSchema

PATTERN = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
TAGS = {"schema": {"type": "string", "pattern": PATTERN}, "example": '"3-730eefdc4dbea94c"'}
IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "description": "`ETag`s: nothing is done unless the VM has one of them; `*` for any.",
    **TAGS,
}
IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "`ETag`s: 304 where the VM still has one of them.",
    **TAGS,
}
CACHE_CONTROL = {
    "in": "header",
    "name": "Cache-Control",
    "description": "`no-cache` has the cloud asked first.",
    "schema": {"type": "string"},
}
AGE = {"Age": {"schema": {"type": "integer"}, "description": "seconds since this was true"}}
OF_READS = {**ETAG, **AGE, "Cache-Control": {"schema": {"type": "string"}}}


class VMBlueprint(Blueprint):
    """Documents the headers that go with a VM."""

    REPLAYED = ("vm_not_found", *FAILED)

    def shows(self, schema: Schema, example: Any) -> Callable[[View], View]:
        """Document a read of a VM, which is 304 for who has it already."""
        has = self.also_answers(304, headers=OF_READS, description="As the client has it")
        shown = self.answers(200, schema, example=example, headers=OF_READS)
        heeds = self.heeds(IF_NONE_MATCH, CACHE_CONTROL)
        return lambda view: heeds(shown(has(view)))

    def changes(
        self, settled: int, *, anew: bool = False, busy: Any = examples.BUSY, **headers: Any
    ) -> Callable[[View], View]:
        """Document a change that is answered with the VM: settled, or still under way.

        One that makes a VM `anew` is for no VM that a client has seen.
        """
        head = {**OPERATION_LOCATION, **IDEMPOTENT_REPLAYED, **PREFERENCE_APPLIED, **headers}
        schema, example = (None, None) if settled == 204 else (VMSchema(), examples.VM)
        done = self.answers(
            settled,
            schema,
            example=example,
            headers=head if schema is None else {**head, **ETAG},
            description="Settled",
        )
        under_way = self.also_answers(
            202,
            VMSchema(),
            example=busy,
            headers={**head, **ETAG, **RETRY_AFTER},
            description="Still under way",
        )
        heeded = (IDEMPOTENCY_KEY, PREFER) if anew else (IDEMPOTENCY_KEY, PREFER, IF_MATCH)
        heeds = self.heeds(*heeded)
        return lambda view: heeds(done(under_way(view)))
