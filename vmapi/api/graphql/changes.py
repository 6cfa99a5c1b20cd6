"""One change of a document, by the rules of one request of the REST API.

Each change counts for the rate limit, needs the permission, and is in the audit trail.
"""

import time
from dataclasses import dataclass

from flask import request

from vmapi.api.graphql.types.inputs import argument_error
from vmapi.api.middleware.authorization import require_permission
from vmapi.api.middleware.rate_limits import limit_change
from vmapi.api.request.caller import (
    IDEMPOTENCY_KEY_PATTERN,
    IDEMPOTENCY_KEY_RULE,
    build_caller,
    build_idempotency_key,
)
from vmapi.api.request.context import request_state
from vmapi.api.request.fingerprint import change_fingerprint
from vmapi.api.request.headers import MAX_WAIT_SECONDS, required_etags
from vmapi.domain.access.caller import Caller, IdempotencyKey
from vmapi.domain.access.roles import Permission
from vmapi.errors import MalformedRequest

HEADER_ARGUMENTS = {"Idempotency-Key": "idempotencyKey", "If-Match": "ifMatch"}
ARGUMENT_ETAG_EXAMPLE = r'ifMatch: "\"1-a\""'
WAIT_DETAIL = f"Must be 0 to {MAX_WAIT_SECONDS}."
KEY_DETAIL = f"Must be {IDEMPOTENCY_KEY_RULE}."


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a document: its action, its VM and its options.

    `action` is the name of the REST endpoint. A create and a bulk action have no `vm_id`.
    """

    action: str
    vm_id: str | None
    idempotency_key: str | None
    wait_seconds: int
    if_match: str | None = None

    def authorize(self) -> None:
        """Count the change, and check the permission of the caller.

        Raises RateLimited, Forbidden, and MalformedRequest for a header that is an argument here.
        """
        state = request_state()
        limit_change(request, state)
        require_permission(Permission.CHANGE, state, self.action, self.vm_id)
        for header, argument in HEADER_ARGUMENTS.items():
            if header in request.headers:
                detail = f"The header {header} has no effect here. Send the argument {argument}."
                raise MalformedRequest(detail)

    def build_caller(self, body: object = None) -> Caller:
        """Return the caller with the options. Raises ValidationFailed, MalformedRequest.

        `body` is the loaded input, which an idempotency key is bound to; None without one.
        """
        etags = required_etags("Argument ifMatch", self.if_match, ARGUMENT_ETAG_EXAMPLE)
        return build_caller(self._build_key(body), self._remaining_wait_seconds(), etags)

    def _build_key(self, body: object) -> IdempotencyKey | None:
        value = self.idempotency_key
        if value is None:
            return None
        if IDEMPOTENCY_KEY_PATTERN.fullmatch(value) is None:
            raise argument_error("idempotencyKey", KEY_DETAIL)
        # no request of the REST API has this endpoint: a key belongs to one of the two
        fingerprint = change_fingerprint(f"graphql.{self.action}", self.vm_id, body)
        return build_idempotency_key(value, fingerprint)

    def _remaining_wait_seconds(self) -> int:
        if not 0 <= self.wait_seconds <= MAX_WAIT_SECONDS:
            raise argument_error("waitSeconds", WAIT_DETAIL)
        # the changes of a document wait one after the other
        elapsed_seconds = time.perf_counter() - request_state().started_at
        return max(0, min(self.wait_seconds, MAX_WAIT_SECONDS - int(elapsed_seconds)))
