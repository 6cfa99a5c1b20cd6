"""Entries of the audit trail."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vmapi_client.models.model import Model

AuditOutcome = Literal["accepted", "refused", "succeeded", "failed", "superseded"]


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Model):
    """One entry of the audit trail; entries never change."""

    id: int
    at: datetime
    user: str
    project: str
    address: str
    action: str
    vm_id: str | None
    operation_id: str | None
    request_id: str
    outcome: str
    code: str | None
    token_id: str | None
    reason: str | None
    position: int | None
