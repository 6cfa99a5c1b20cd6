"""`operations`: list, show, retry and end operations."""

from typing import Any

import click

from vmapi.cli.command import OperatorGroup
from vmapi.cli.context import operator_subject, services, using_database
from vmapi.cli.output import (
    as_json,
    format_duration,
    print_fields,
    print_json,
    print_note,
    print_table,
)
from vmapi.domain.bulk import BulkOperation
from vmapi.domain.operation import Operation, OperationReport
from vmapi.domain.timestamps import format_rfc3339

MAX_REASON_CHARS = 300
"""The longest reason for the end of an operation."""

LIST_HEADERS = (
    *("id", "action", "status", "step", "age", "attempts failed", "continues", "vm", "last error"),
)


@click.group(cls=OperatorGroup)
def operations() -> None:
    """List, show, retry and end operations."""


@operations.command("list")
@click.option("--failed", is_flag=True, help="the operations that have failed, the newest first")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="how many operations to list",
)
@as_json
@using_database()
def list_operations(failed: bool, limit: int, is_json: bool) -> None:
    """List the unfinished operations, the oldest first.

    `continues`: whether a running server or worker has the lease of the operation.
    """
    administrator = services().operation_administrator
    find = administrator.list_failed if failed else administrator.list_unfinished
    reports = find(limit + 1)
    if len(reports) > limit:
        print_note(f"There are more than {limit}: --limit shows more.")
    if is_json:
        print_json([to_document(report) for report in reports[:limit]])
    else:
        print_table(LIST_HEADERS, [_to_row(report) for report in reports[:limit]])


@operations.command()
@click.argument("id")
@as_json
@using_database()
def show(id: str, is_json: bool) -> None:
    """Show an operation with its steps, or a bulk operation with its operations."""
    report = services().operation_administrator.get(id)
    if isinstance(report, BulkOperation):
        _print_bulk(report, is_json=is_json)
    elif is_json:
        print_json(to_document(report))
    else:
        _print_report(report)


@operations.command()
@click.argument("id")
@as_json
@using_database()
def retry(id: str, is_json: bool) -> None:
    """Let the engine check or send an unfinished operation without delay.

    The engine decides as always: it searches a call without a response in the cloud first. A
    finished operation is refused with status 1.
    """
    report = services().operation_administrator.retry(id, operator_subject())
    if report.is_leased:
        print_note("The engine attempts the operation now: vmapi operations show " + id)
    else:
        print_note(
            "No process continues the operation now: start a server or a worker, or wait ten "
            "seconds after the death of one."
        )
    if is_json:
        print_json(_get_document(id))


@operations.command()
@click.argument("id")
@click.option("--reason", required=True, help="the reason, which the clients of the VM see too")
@click.option("--yes", is_flag=True, help="do not ask for a confirmation")
@as_json
@using_database()
def fail(id: str, reason: str, yes: bool, is_json: bool) -> None:
    """End an unfinished operation as failed. The audit trail records the operator.

    Nothing is undone in the cloud. The VM is free for the next change. Refused with status 1 are
    a finished operation, and one with a call that may still take effect.
    """
    if not reason.strip() or len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        allowed = f"1 to {MAX_REASON_CHARS} printable characters"
        raise click.BadParameter(allowed, param_hint="--reason")
    if not yes:
        click.confirm(f"End operation {id} as failed?", abort=True, err=True)
    operation = services().operation_administrator.fail(id, reason.strip(), operator_subject())
    error = operation.error
    print_note(f"Operation {id} has failed: {error.detail if error else ''}")
    if is_json:
        print_json(_get_document(id))


def to_document(report: OperationReport) -> dict[str, Any]:
    """Return the JSON members of an operation."""
    operation, failure = report.operation, report.last_failure
    return {
        **_operation_members(operation),
        "age_seconds": round(report.age_seconds, 3),
        "failed_attempts": report.failed_attempts,
        "last_failure": failure and {"code": failure.code, "detail": failure.detail},
        "last_failed_at": report.last_failed_at and format_rfc3339(report.last_failed_at),
        "is_leased": report.is_leased,
    }


def _get_document(operation_id: str) -> dict[str, Any]:
    report = services().operation_administrator.get(operation_id)
    assert isinstance(report, OperationReport)
    return to_document(report)


def _operation_members(operation: Operation) -> dict[str, Any]:
    error = operation.error
    times = ("created_at", "started_at", "finished_at", "retry_requested_at")
    names = ("id", "action", "status", "vm_id", "bulk_id", "project", "requested_by", "request_id")
    return {
        **{name: getattr(operation, name) for name in names},
        "name": operation.reserved_name,
        **{name: (at := getattr(operation, name)) and format_rfc3339(at) for name in times},
        "steps": [
            {
                "verb": step.verb,
                "state": step.state,
                "started_at": step.started_at and format_rfc3339(step.started_at),
                "request_id": step.request_id,
            }
            for step in operation.steps
        ],
        "error": error and {"code": error.code, "detail": error.detail},
    }


def _to_row(report: OperationReport) -> tuple[object, ...]:
    operation = report.operation
    return (
        operation.id,
        operation.action,
        operation.status,
        _describe_step(operation),
        format_duration(report.age_seconds),
        report.failed_attempts,
        report.is_leased,
        operation.vm_id,
        _describe_error(report),
    )


def _describe_step(operation: Operation) -> str | None:
    step = operation.step
    if operation.is_finished or step is None:
        return None
    number = operation.steps.index(step) + 1
    position = f" ({number}/{len(operation.steps)})" if len(operation.steps) > 1 else ""
    return f"{step.verb} {step.state}{position}"


def _describe_error(report: OperationReport) -> str | None:
    error = report.operation.error or report.last_failure
    return f"{error.code}: {error.detail}" if error else None


def _print_report(report: OperationReport) -> None:
    document = to_document(report)
    steps = document.pop("steps")
    for name in ("error", "last_failure"):
        if error := document[name]:
            document[name] = f"{error['code']}: {error['detail']}"
    document["age"] = format_duration(document.pop("age_seconds"))
    document["continues"] = document.pop("is_leased")
    print_fields({name.replace("_", " "): value for name, value in document.items()})
    click.echo()
    headers = ("step", "state", "started at", "request of the cloud")
    print_table(headers, [tuple(step.values()) for step in steps])


def _print_bulk(bulk: BulkOperation, *, is_json: bool) -> None:
    summary = bulk.summarize()
    parts = [_operation_members(part) for part in bulk.operations.values()]
    fields = {"id": bulk.id, "action": bulk.action, "status": summary.status}
    if is_json:
        print_json({**fields, "counts": summary.counts, "operations": parts})
        return
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count)
    print_fields({**fields, "requested by": bulk.requested_by, "operations": counts})
    click.echo()
    rows = [
        (part.id, part.vm_id, part.status, _describe_step(part), part.error and part.error.code)
        for part in bulk.operations.values()
    ]
    print_table(("id", "vm", "status", "step", "error"), rows)
