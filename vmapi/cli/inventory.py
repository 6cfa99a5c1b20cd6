"""`inventory`: show the state of the inventory, and sync it with the cloud."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from vmapi.cli.command import OperatorGroup
from vmapi.cli.context import services, using_database
from vmapi.cli.output import (
    as_json,
    format_duration,
    print_fields,
    print_json,
    print_note,
    showing_progress,
)
from vmapi.domain.lifecycle import Status

if TYPE_CHECKING:
    from vmapi.store.statistics import DatabaseCounts

LEADER_JOB = "sync"
"""The job of the process that polls the cloud for all processes."""


@click.group(cls=OperatorGroup)
def inventory() -> None:
    """Show the state of the inventory, and sync it with the cloud."""


@inventory.command()
@as_json
@using_database()
def show(is_json: bool) -> None:
    """Show the VMs by status, the age of the inventory, the last full sync and the leader.

    The leader is the process that polls the cloud for all. Deleted VMs are listed for 24 hours.
    """
    counts = services().store.statistics.count()
    if is_json:
        print_json(_to_document(counts))
        return
    full, changes = counts.sync_ages.get("full"), counts.sync_ages.get("changes")
    print_fields(
        {
            "VMs": _count_live_vms(counts.vms_by_status),
            **{f"  {status}": counts.vms_by_status.get(status, 0) for status in Status},
            "age": format_duration(changes),
            "last full sync": f"{format_duration(full)} ago" if full is not None else None,
            "  duration": format_duration(counts.full_sync_seconds),
            "leader": counts.leaders.get(LEADER_JOB),
        }
    )
    if services().backend.has_change_feed:
        print_note("The in-memory cloud needs no sync: each read asks it for changes.")


@inventory.command()
@as_json
@using_database()
def sync(is_json: bool) -> None:
    """Read all VMs from the cloud now, and save them. Servers may run.

    It takes as long as the cloud needs to list all servers. The leader continues at its interval.
    """
    backend, observer = services().backend, services().observer
    if backend.single_process:
        raise click.ClickException(
            "the in-memory cloud is in the memory of the server: its inventory needs no sync"
        )
    started_at = time.monotonic()
    try:
        with showing_progress("Reading all VMs from the cloud"):
            observer.full_sync()
    finally:
        backend.close()
    seconds = time.monotonic() - started_at
    vms_by_status = services().store.statistics.count().vms_by_status
    if is_json:
        print_json({"duration_seconds": round(seconds, 3), "vms_by_status": vms_by_status})
    else:
        fields = {"VMs": _count_live_vms(vms_by_status), "duration": format_duration(seconds)}
        print_fields(fields)


def _count_live_vms(vms_by_status: Mapping[str, int]) -> int:
    return sum(count for status, count in vms_by_status.items() if status != Status.DELETED)


def _to_document(counts: "DatabaseCounts") -> dict[str, Any]:
    return {
        "vms_by_status": {str(status): counts.vms_by_status.get(status, 0) for status in Status},
        "age_seconds": counts.sync_ages.get("changes"),
        "full_sync": {
            "age_seconds": counts.sync_ages.get("full"),
            "duration_seconds": counts.full_sync_seconds,
        },
        "leader": counts.leaders.get(LEADER_JOB),
    }
