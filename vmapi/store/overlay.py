"""What is under way, laid over what the cloud says of a VM."""

from sqlalchemy import Connection, select

from vmapi.models.lifecycle import Action, Status, Task
from vmapi.models.vm import VM
from vmapi.store import vm_rows
from vmapi.store.database import now
from vmapi.store.queries import IS_UNFINISHED
from vmapi.store.tables import operations, vms


def of(connection: Connection, seen: VM) -> tuple[Status, Task | None]:
    """Return status and task of a VM as they are shown."""
    newest = select(operations.c.action).where(IS_UNFINISHED, operations.c.vm_id == seen.id)
    newest = newest.order_by(operations.c.created_at.desc(), operations.c.id.desc()).limit(1)
    action = connection.execute(newest).scalar()
    if action is None or seen.status is Status.DELETED:
        return seen.status, seen.task
    return Status.BUILDING if action == Action.CREATE else seen.status, Action(action).task


def refresh(connection: Connection, vm_id: str) -> None:
    """Show what is under way with a VM by now, after an operation has begun or ended."""
    row = connection.execute(select(vms).where(vms.c.id == vm_id).with_for_update()).first()
    if row is None:
        return
    status, task = of(connection, vm_rows.observed(row))
    if (status, task) != (row.status, row.task):
        new = {"status": status, "task": task, "revision": row.revision + 1}
        connection.execute(vms.update().where(vms.c.id == vm_id).values(new))


def sent(connection: Connection, vm_id: str) -> None:
    """Let no look that began before now tell of a VM: it may not show what was just sent."""
    connection.execute(vms.update().where(vms.c.id == vm_id).values(floor=now()))
