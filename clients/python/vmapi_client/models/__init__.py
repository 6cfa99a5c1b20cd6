"""Frozen dataclasses for the JSON objects of vmapi."""

from vmapi_client.models.audit import AuditEntry, AuditOutcome
from vmapi_client.models.catalog import (
    Flavor,
    Health,
    Image,
    Network,
    Quota,
    QuotaUsage,
    Readiness,
)
from vmapi_client.models.event import Event, EventKind
from vmapi_client.models.model import Model
from vmapi_client.models.operation import (
    Bulk,
    BulkCounts,
    BulkItem,
    BulkPart,
    BulkResult,
    Operation,
    OperationAction,
    OperationStatus,
)
from vmapi_client.models.problem import FieldError, Problem
from vmapi_client.models.vm import (
    VM,
    Action,
    Address,
    Console,
    Fault,
    RestartType,
    SortKey,
    Status,
    VMState,
)

__all__ = [
    "VM",
    "Action",
    "Address",
    "AuditEntry",
    "AuditOutcome",
    "Bulk",
    "BulkCounts",
    "BulkItem",
    "BulkPart",
    "BulkResult",
    "Console",
    "Event",
    "EventKind",
    "Fault",
    "FieldError",
    "Flavor",
    "Health",
    "Image",
    "Model",
    "Network",
    "Operation",
    "OperationAction",
    "OperationStatus",
    "Problem",
    "Quota",
    "QuotaUsage",
    "Readiness",
    "RestartType",
    "SortKey",
    "Status",
    "VMState",
]
