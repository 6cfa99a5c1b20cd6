"""The audit trail: which caller changed which VM or token, and the outcome."""

import hashlib
import hmac
import json
import uuid
from dataclasses import asdict, astuple, dataclass, replace
from datetime import datetime
from typing import Any

from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.caller import Caller
from vmapi.domain.operation import Operation
from vmapi.domain.timestamps import format_rfc3339
from vmapi.errors import Forbidden

OUTCOME_ACCEPTED = "accepted"
OUTCOME_REFUSED = "refused"
OUTCOME_SUCCEEDED = "succeeded"
AUDIT_OUTCOMES = (OUTCOME_ACCEPTED, OUTCOME_REFUSED, OUTCOME_SUCCEEDED, "failed", "superseded")

TOKEN_ACTIONS = ("token_create", "token_revoke", "token_rotate")
OPERATION_ACTIONS = ("operation_fail", "operation_retry")
"""Actions of an operator on an operation."""

MAX_ACTION_CHARS = 16

OPTIONAL_MEMBERS = 2
"""Members at the end of an entry that most entries lack: `token_id` and `reason`."""

GENESIS = ""
"""The MAC before the first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit trail, immutable.

    `outcome` is one of `AUDIT_OUTCOMES`; `code` is the error code of `vmapi.errors`, if any. The
    subject of the action is in `vm_id` or `token_id`.
    """

    at: datetime
    user: str
    project: str
    address: str
    action: str
    vm_id: str | None
    operation_id: str | None
    request_id: str
    outcome: str
    code: str | None = None
    token_id: str | None = None
    reason: str | None = None
    """The reason of an operator for the end of an operation."""

    @classmethod
    def accepted(cls, operation: Operation) -> "AuditEntry":
        """Return the entry for an admitted operation."""
        return cls._for_operation(operation, operation.created_at, OUTCOME_ACCEPTED)

    @classmethod
    def refused(cls, operation: Operation, at: datetime, code: str) -> "AuditEntry":
        """Return the entry for an operation that was refused before its first step."""
        return cls._for_operation(operation, at, OUTCOME_REFUSED, code)

    @classmethod
    def finished(cls, operation: Operation) -> "AuditEntry":
        """Return the entry for a finished operation."""
        code = operation.error.code if operation.error else None
        at = operation.finished_at or operation.created_at
        return cls._for_operation(operation, at, operation.status, code)

    @classmethod
    def forbidden(
        cls, caller: Caller, at: datetime, action: str, vm_id: str | None
    ) -> "AuditEntry":
        """Return the entry for a request that the role of the caller forbids."""
        return cls(
            at=at,
            user=caller.user,
            project=caller.project,
            address=caller.address,
            action=action[:MAX_ACTION_CHARS],
            vm_id=vm_id,
            operation_id=None,
            request_id=caller.request_id,
            outcome=OUTCOME_REFUSED,
            code=Forbidden.code,
        )

    @classmethod
    def for_token(
        cls, token: ApiToken, at: datetime, action: str, user: str, request_id: str
    ) -> "AuditEntry":
        """Return the entry for an operator's action on an API token."""
        return cls(
            at=at,
            user=user,
            project=token.project,
            address="",
            action=action,
            vm_id=None,
            operation_id=None,
            request_id=request_id,
            outcome=OUTCOME_SUCCEEDED,
            token_id=token.id,
        )

    @classmethod
    def for_operator(
        cls, operation: Operation, at: datetime, action: str, user: str, reason: str | None = None
    ) -> "AuditEntry":
        """Return the entry for an operator's action on an operation, under a new request id."""
        entry = cls._for_operation(operation, at, OUTCOME_SUCCEEDED)
        act = replace(entry, user=user, address="", action=action, reason=reason)
        return replace(act, request_id=f"req-{uuid.uuid4()}")

    @classmethod
    def _for_operation(
        cls, operation: Operation, at: datetime, outcome: str, code: str | None = None
    ) -> "AuditEntry":
        return cls(
            at=at,
            user=operation.requested_by,
            project=operation.project,
            address=operation.address,
            action=operation.action,
            vm_id=operation.vm_id,
            operation_id=operation.id,
            request_id=operation.request_id,
            outcome=outcome,
            code=code,
        )

    def compute_mac(self, key: str, position: int, previous_mac: str) -> str:
        """Return the HMAC-SHA256 (RFC 2104) of this entry at a position of the chain."""
        members = [None if value is None else str(value) for value in astuple(self)]
        for _ in range(OPTIONAL_MEMBERS):
            # an absent optional member at the end takes no place: so the MACs of entries that were
            # written before it was added remain
            if members[-1] is None:
                members.pop()
        return compute_hmac(key, previous_mac, position, *members)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its id, in the order of writing, and its chain position."""

    id: int
    #: None while the entry is not in the chain
    position: int | None
    entry: AuditEntry

    def to_document(self) -> dict[str, Any]:
        """Return the JSON members of the entry, as in the API and in an export."""
        members = asdict(self.entry) | {"at": format_rfc3339(self.entry.at)}
        return {"id": self.id, **members, "position": self.position}


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Filters of entries; `after` and `before` are exclusive bounds of the time."""

    user: str | None = None
    project: str | None = None
    action: str | None = None
    vm_id: str | None = None
    request_id: str | None = None
    token_id: str | None = None
    outcome: str | None = None
    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A link of the chain: a position and the MAC of the entry there."""

    position: int = 0
    mac: str = GENESIS

    def sign(self, key: str) -> str:
        """Return the signature of a checkpoint that replaces the chain up to here."""
        return compute_hmac(key, "checkpoint", self.position, self.mac)


def compute_hmac(key: str, *members: object) -> str:
    """Return the HMAC-SHA256 of a list of texts and numbers, in hexadecimal."""
    message = json.dumps(members, separators=(",", ":")).encode()
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
