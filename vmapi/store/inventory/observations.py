"""Observations of VMs: decide which one is newer, and write it.

Protocol "order of observations"
================================

Every process polls the cloud, so observations of one VM arrive in any order. An observation is a
set of VMs with the time `started_at` of the database's clock, read before the request to the cloud.
The time after the write is `finished_at`. A row keeps both of its last observation, and a fence:

* `observation_started_at` .. `observation_finished_at`: the window in which the cloud was asked.
* `min_observed_at` (the fence): observations that started earlier are ignored. An accepted step and
  a finished operation raise the fence to the current time, since an older observation may predate
  the change.

A row is in one of three states:

* expected: inserted by an accepted create, window 0..0, fence at the insert. Any observation that
  starts later replaces it.
* observed: window and fence of the last observation.
* deleted: `deleted_at` is set. The cloud does not revive a VM: a deletion wins over any overlapping
  observation, and the deletion is announced once.

An observation replaces a row if it started at or after both the fence and the row's `finished_at`.
If the two windows overlap, the order of the requests is unknown, and the content decides, in this
order: a deletion wins; then the later `updated_at` of the cloud; within the same second of it, the
observation without a task, since a task comes before its result; then the later start. A fence or
window in the future is from a wrong clock, and ignored.

Invariants: the rows of one batch are locked in the order of their ids, so that two batches cannot
deadlock. A row that another transaction inserts first is applied again in a new transaction, since
locking it late would break that order. A new revision and its event are written together. A
revision moves only if a public field has changed.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, select

from vmapi.domain.event import EventKind
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.observation import Observation
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.store import events
from vmapi.store.clock import db_now, past_time
from vmapi.store.inventory import overlay
from vmapi.store.mappers import event as event_mapper
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import vms

UPDATED_COLUMNS = (
    *("name", "flavor", "image", "created_at", "updated_at", "deleted_at", "project", "vcpus"),
    *("ram_mb", "operation_id", "observed", "status", "task", "revision"),
    "observation_started_at",
)
FINISHED = ("observation_finished_at",)
FINISHED_AND_FENCED = (*FINISHED, "min_observed_at")
"""The columns that a write sets to the time of the database's clock."""

SELECT_VMS_FOR_UPDATE = (
    select(vms, db_now().label("now"))
    .where(vms.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(vms.c.id)
    .with_for_update()
)

Values = dict[str, Any]


@dataclass(slots=True)
class _Batch:
    """The writes of one batch of observations."""

    started_at: int
    inserts: list[Values] = field(default_factory=list)
    updates: list[Values] = field(default_factory=list)
    events: list[Values] = field(default_factory=list)
    unchanged: list[Row[Any]] = field(default_factory=list)

    def insert(self, values: Values) -> None:
        self.inserts.append(values)
        self.events += _events_for(values, None)

    def update(self, values: Values, row: Row[Any]) -> None:
        self.updates.append(values)
        self.events += _events_for(values, row)


@dataclass(frozen=True, slots=True)
class AppliedObservation:
    """The rows of an observation after its transaction."""

    rows: Mapping[str, Mapping[str, Any]]
    """The rows that agree with the observation, by VM id."""
    late_vms: Sequence[VM] = ()
    """The VMs that another transaction has inserted first: apply them again in a new one."""

    @property
    def ids(self) -> Set[str]:
        """The ids of the VMs with a row that agrees with the observation."""
        return self.rows.keys()

    def find_snapshot(self, vm_id: str | None) -> VMSnapshot | None:
        """Return the VM of a row that agrees with the observation; None for another VM."""
        row = self.rows.get(vm_id or "")
        return VMSnapshot(vm_mapper.from_values(row), row["revision"], 0.0) if row else None


def apply(
    connection: Connection, observation: Observation, *, raises_fence: bool = False
) -> AppliedObservation:
    """Apply an observation; its VMs are in the order of their ids.

    `raises_fence`: ignore any other observation of these VMs that started before now.
    """
    observed, started_at = observation.vms, observation.started_at
    rows = {row.id: row for row in _select_for_update(connection, [vm.id for vm in observed])}
    completed = [
        vm_mapper.fill_unknown(vm, rows[vm.id]) if vm.id in rows else vm for vm in observed
    ]
    actions = overlay.actions_in_progress(connection, completed)
    batch = _Batch(started_at)
    for vm in observed:
        row, action = rows.get(vm.id), actions.get(vm.id)
        if row is None:
            batch.insert(_insert_values(vm, action, started_at))
        elif not _is_newer(row, vm, started_at):
            continue
        elif _is_unchanged(row, vm, action):
            batch.unchanged.append(row)
        else:
            batch.update(_update_values(row, vm, action, started_at), row)
    late_ids = _write(connection, batch, FINISHED_AND_FENCED if raises_fence else FINISHED)
    applied = {values["id"]: values for values in (*batch.inserts, *batch.updates)}
    applied |= {row.id: row._mapping for row in batch.unchanged}
    return AppliedObservation(
        {vm_id: row for vm_id, row in applied.items() if vm_id not in late_ids},
        [vm for vm in observed if vm.id in late_ids],
    )


def apply_deletion(connection: Connection, vm_id: str, at: datetime, observed_at: int) -> None:
    """Mark a VM deleted, unless a later observation shows it.

    `at` is the cloud's time of the deletion, `observed_at` the database's time of the 404.
    """
    for row in _select_for_update(connection, [vm_id]):
        last_started_at = past_time(row.observation_started_at, row.now)
        if row.deleted_at is None and observed_at >= last_started_at:
            deleted = vm_mapper.as_deleted(vm_mapper.observed_vm(row), at)
            batch = _Batch(observed_at)
            batch.update(_update_values(row, deleted, None, observed_at), row)
            _write(connection, batch, FINISHED)


def _is_newer(row: Row[Any], vm: VM, started_at: int) -> bool:
    if started_at < past_time(row.min_observed_at, row.now):
        return False
    if started_at >= past_time(row.observation_finished_at, row.now):
        return True
    rank = (vm.status is Status.DELETED, vm.updated_at, vm.task is None, started_at)
    has_no_task = row.observed["task"] is None
    return rank >= (
        row.deleted_at is not None,
        row.updated_at,
        has_no_task,
        row.observation_started_at,
    )


def _is_unchanged(row: Row[Any], vm: VM, action: Action | None) -> bool:
    if (row.status, row.task) != overlay.overlaid_status(vm, action):
        return False
    completed = vm_mapper.fill_unknown(vm, row)
    return bool(vm_mapper.to_row(completed)["observed"] == row.observed)


def _insert_values(vm: VM, action: Action | None, started_at: int) -> Values:
    status, task = overlay.overlaid_status(vm, action)
    return {
        **vm_mapper.to_row(vm),
        "observation_started_at": started_at,
        "status": status,
        "task": task,
        "revision": 1,
    }


def _update_values(row: Row[Any], vm: VM, action: Action | None, started_at: int) -> Values:
    status, task = overlay.overlaid_status(vm, action)
    vm = vm_mapper.fill_unknown(vm, row)
    shown = replace(vm, status=status, task=task)
    has_changed = shown.public_fields != vm_mapper.from_row(row).public_fields
    return {
        **vm_mapper.to_row(vm),
        "status": status,
        "task": task,
        "revision": row.revision + has_changed,
        "observation_started_at": started_at,
    }


def _events_for(values: Values, previous: Row[Any] | None) -> Sequence[Values]:
    if previous is not None and previous.revision == values["revision"]:
        return []
    is_deleted = values["deleted_at"] is not None
    was_live = previous is not None and previous.deleted_at is None
    if is_deleted and previous is not None and not was_live:
        # a deletion is announced once, whatever else the cloud reports later
        return []
    kind = EventKind.VM_CHANGED if was_live else EventKind.VM_CREATED
    return [event_mapper.vm_event_to_row(EventKind.VM_DELETED if is_deleted else kind, values)]


@cache
def _update_vms(times: Sequence[str]) -> Update:
    """Return the statement that saves observations, and sets columns to the present time."""
    return (
        vms.update()
        .where(vms.c.id == bindparam("of"))
        .values({name: bindparam(name, type_=vms.c[name].type) for name in UPDATED_COLUMNS})
        .values(dict.fromkeys(times, db_now()))
    )


@cache
def _extend_window(times: Sequence[str]) -> Update:
    """Return the statement that saves observations without a change."""
    values = {"observation_started_at": bindparam("started_at"), **dict.fromkeys(times, db_now())}
    is_one = vms.c.id.in_(bindparam("ids", expanding=True))
    return vms.update().where(is_one).values(values)


def _write(connection: Connection, batch: _Batch, times: Sequence[str]) -> set[str]:
    """Write a batch; return the ids that another transaction has inserted first."""
    late_ids = {values["id"] for values in batch.inserts}
    if batch.inserts:
        insert = overlay.insert_missing_vms(connection.dialect.name, times)
        late_ids -= set(connection.execute(insert, batch.inserts).scalars())
    if batch.updates:
        rows = [{**values, "of": values["id"]} for values in batch.updates]
        connection.execute(_update_vms(times), rows)
    if batch.unchanged:
        ids = [row.id for row in batch.unchanged]
        connection.execute(_extend_window(times), {"ids": ids, "started_at": batch.started_at})
    events.append(connection, *(event for event in batch.events if event["vm_id"] not in late_ids))
    return late_ids


def _select_for_update(connection: Connection, ids: Sequence[str]) -> Iterator[Row[Any]]:
    yield from connection.execute(SELECT_VMS_FOR_UPDATE, {"ids": ids})
