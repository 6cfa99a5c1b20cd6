"""The sections of a support bundle: each is one JSON document without secrets and user data."""

import os
import platform
import shutil
import sqlite3
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import distributions
from typing import Any

from vmapi import __version__
from vmapi.cli.check import effective_settings
from vmapi.cli.context import services, settings
from vmapi.cli.operations import to_document
from vmapi.cli.redaction import HIDDEN, hide_quotations
from vmapi.domain.operation import OperationReport
from vmapi.errors import VmapiError
from vmapi.services.timeouts import run_with_timeout
from vmapi.settings.settings import DECLARATIONS
from vmapi.telemetry.operator_text import operator_text

PING_TIMEOUT_SECONDS = 10.0
"""Seconds that a dependency may take to answer."""

NO_DATABASE = "there is no database"

MAX_OPERATIONS = 100
"""Unfinished operations, and failed ones."""

SHOWN_SETTINGS = frozenset(
    (
        *("VMAPI_WORKERS", "VMAPI_THREADS", "API_VERSION", "LOG_LEVEL", "VMAPI_PROXIES"),
        *("VMAPI_AUTH", "VMAPI_ALLOW_ANONYMOUS", "VMAPI_JWT_ALGORITHMS", "VMAPI_JWT_LEEWAY"),
        *("VMAPI_ENGINE", "VMAPI_DEADLINES", "VMAPI_RETENTION", "VMAPI_EVENT_RETENTION"),
        *("VMAPI_AUDIT_RETENTION", "VMAPI_RATE_READS", "VMAPI_RATE_CHANGES", "VMAPI_RATE_ADDRESS"),
        *("VMAPI_EVENT_STREAMS", "VMAPI_CALLER_STREAMS", "VMAPI_CALLER_WAITS", "VMAPI_BACKEND"),
        *("VMAPI_BACKEND_TIMEOUT", "VMAPI_MEMORY_LATENCY", "VMAPI_MEMORY_FAULTS"),
        *("VMAPI_MEMORY_LIMITS", "VMAPI_GRAPHQL"),
    )
)
"""Settings with numbers and words of vmapi. All others may hold any text, and are hidden."""

SHOWN_CLOUD_MEMBERS = ("backend", "sees", "microversion")
"""Members of the description of the cloud that hold no names."""

SHOWN_OPERATION_MEMBERS = (
    *("id", "action", "status", "vm_id", "bulk_id", "request_id", "created_at", "started_at"),
    *("finished_at", "retry_requested_at", "steps", "age_seconds", "failed_attempts"),
    *("last_failed_at", "is_leased"),
)
"""Members of operations that hold no text of a user."""


def is_shown(name: str) -> bool:
    """Return whether the value of a setting is shown."""
    return name in SHOWN_SETTINGS


def describe_versions() -> dict[str, Any]:
    """Return the versions of vmapi, Python, the system and all packages."""
    return {
        "vmapi": __version__,
        "python": platform.python_version(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "openssl": ssl.OPENSSL_VERSION,
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(sorted((dist.name, dist.version) for dist in distributions())),
    }


def describe_settings() -> dict[str, str]:
    """Return each setting, or its default; other values only if they cannot hold a secret."""
    texts = effective_settings(settings())
    defaults = {declared.name: declared.default for declared in DECLARATIONS.values()}
    return {
        name: text if is_shown(name) or text in ("", defaults[name]) else f"set, {HIDDEN}"
        for name, text in texts.items()
    }


def describe_health() -> dict[str, Any]:
    """Return whether database, cloud and Keystone answer, with the reason and the duration."""
    backend, store = services().backend, services().store
    pings: dict[str, Callable[[], None]] = {"cloud": backend.ping}
    if _has_database():
        pings["database"] = store.ping
    if keystone := services().authenticator.keystone_validator:
        pings["keystone"] = keystone.ping
    health = {name: _ping(ping) for name, ping in pings.items()}
    # after the ping, because the driver learns some of it from the response
    cloud = backend.describe()
    return {**health, "cloud_members": {name: cloud.get(name) for name in SHOWN_CLOUD_MEMBERS}}


def describe_database() -> dict[str, Any]:
    """Return the schema, the integrity, and the numbers of rows, VMs, syncs and leases."""
    from vmapi.store.inspection import count_rows, inspect

    store = services().store
    if not _has_database():
        return {"unreadable": NO_DATABASE}
    with store.opened_as_is() as database:
        inspection = inspect(database)
        rows = count_rows(database) if inspection.is_current else {}
    members = asdict(inspection)
    path = members.pop("location")
    if inspection.kind == "SQLite":
        members["free_disk_bytes"] = shutil.disk_usage(path).free
    if not inspection.is_current:
        return members
    counts = asdict(store.statistics.count())
    return {**members, "rows": rows, "counts": counts}


def describe_operations() -> dict[str, Any]:
    """Return the unfinished operations and the last failed ones, with their errors."""
    administrator = services().operation_administrator
    if not _has_database():
        return {"unreadable": NO_DATABASE}
    lists = {
        "unfinished": administrator.list_unfinished(MAX_OPERATIONS),
        "failed": administrator.list_failed(MAX_OPERATIONS),
    }
    return {name: [_describe_operation(r) for r in reports] for name, reports in lists.items()}


SECTIONS: Mapping[str, Callable[[], Any]] = {
    "versions": describe_versions,
    "settings": describe_settings,
    "health": describe_health,
    "database": describe_database,
    "operations": describe_operations,
}


def _has_database() -> bool:
    """Return whether there is a database. The first use of SQLite would create one."""
    store = services().store
    return not (store.is_temporary() or store.find_missing_file())


def _ping(ping: Callable[[], None]) -> dict[str, Any]:
    started_at = time.monotonic()
    status, detail = "ok", None
    try:
        run_with_timeout(PING_TIMEOUT_SECONDS, ping)
    except VmapiError as error:
        status, detail = error.code, hide_quotations(operator_text(error))
    return {"status": status, "detail": detail, "seconds": round(time.monotonic() - started_at, 3)}


def _describe_operation(report: OperationReport) -> dict[str, Any]:
    document, operation = to_document(report), report.operation
    user_texts = [operation.reserved_name, operation.requested_by, *_vm_texts(operation.vm_id)]
    if operation.patch is not None:
        user_texts += [operation.patch.name, *_metadata_texts(operation.patch.metadata or {})]
    members = {name: document[name] for name in SHOWN_OPERATION_MEMBERS}
    for name in ("error", "last_failure"):
        if error := document[name]:
            error = {**error, "detail": hide_quotations(error["detail"], *user_texts)}
        members[name] = error
    return members


def _vm_texts(vm_id: str | None) -> list[str | None]:
    snapshot = services().store.inventory.get(vm_id) if vm_id else None
    return [snapshot.vm.name, *_metadata_texts(snapshot.vm.metadata)] if snapshot else []


def _metadata_texts(metadata: Mapping[str, str | None]) -> list[str | None]:
    return [text for pair in metadata.items() for text in pair]
