"""Operations as operators see them, and the changes that operators make to them.

An operator and a running engine may write at the same time. The end of an operation compares the
revision, as each save of an engine does: of two writers, the second one fails and saves nothing. A
retry changes no revision, so that it disturbs no attempt in progress.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import BigInteger, Integer, Row, bindparam, select, type_coerce

from vmapi.domain.audit import AuditEntry
from vmapi.domain.operation import Operation, OperationError, OperationReport, OperationStatus
from vmapi.domain.storable_text import storable_text
from vmapi.errors import InternalError, OperationNotFound, VmapiError
from vmapi.store.audit import repository as audit
from vmapi.store.clock import db_now, to_seconds
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.mappers import operation as mapper
from vmapi.store.operations import statements, transitions
from vmapi.store.operations.leases import LEASE_IS_EXPIRED
from vmapi.store.operations.repository import decode_row
from vmapi.store.tables import IS_UNFINISHED, operations

MAX_FAILURE_CHARS = 500
"""The longest reason of a failed attempt that is stored."""

AGE = db_now() - type_coerce(operations.c.created_at, BigInteger)
SELECT_REPORTS = select(
    operations, AGE.label("age"), LEASE_IS_EXPIRED.label("is_lease_expired")
).limit(bindparam("limit"))
SELECT_UNFINISHED_REPORTS = SELECT_REPORTS.where(IS_UNFINISHED).order_by(*statements.OLDEST_FIRST)
SELECT_FAILED_REPORTS = SELECT_REPORTS.where(
    operations.c.finished_at.is_not(None), operations.c.status == OperationStatus.FAILED
).order_by(operations.c.finished_at.desc())
SELECT_REPORT = SELECT_REPORTS.where(operations.c.id == bindparam("id"))

# a row that another process saves now needs no count, and a wait for it could be a deadlock
SELECT_FREE_IDS = (
    select(operations.c.id)
    .where(operations.c.id.in_(bindparam("ids", expanding=True)), IS_UNFINISHED)
    .with_for_update(skip_locked=True)
)
RECORD_FAILURE = (
    operations.update()
    .where(operations.c.id.in_(SELECT_FREE_IDS))
    .values(
        failed_attempts=operations.c.failed_attempts + 1,
        defects=operations.c.defects + bindparam("defects", type_=Integer),
        last_failed_at=db_now(),
        last_failure=bindparam("failure", type_=operations.c.last_failure.type),
    )
)
COUNT_DEFECTS = select(operations.c.defects).where(operations.c.id == bindparam("id"))
REQUEST_RETRY = (
    operations.update()
    .where(operations.c.id == bindparam("of"), IS_UNFINISHED)
    .values(retry_requested_at=bindparam("at", type_=operations.c.retry_requested_at.type))
)


class OperationAdministration:
    """The operations of one database, for operators. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_unfinished(self, limit: int) -> Sequence[OperationReport]:
        """Return the oldest unfinished operations that this version of vmapi can read."""
        return self._list(SELECT_UNFINISHED_REPORTS, limit=limit)

    def list_failed(self, limit: int) -> Sequence[OperationReport]:
        """Return the operations that have failed last, the newest first."""
        return self._list(SELECT_FAILED_REPORTS, limit=limit)

    def get(self, operation_id: str) -> OperationReport:
        """Return an operation. Raises OperationNotFound."""
        # PostgreSQL refuses a NUL in a text
        if "\0" not in operation_id:
            for report in self._list(SELECT_REPORT, id=operation_id, limit=1):
                return report
        raise OperationNotFound(f"There is no operation {operation_id}.")

    def record_failure(self, failed: Sequence[Operation], error: VmapiError) -> None:
        """Count a failed attempt to dispatch or check operations, and save its reason."""
        failure = OperationError(error.code, storable_text(error.detail, MAX_FAILURE_CHARS))
        ids = [operation.id for operation in failed]
        # not durable: nothing is decided by it
        with self._database.write(durable=False) as connection:
            params = {"ids": ids, "failure": asdict(failure)}
            is_defect = isinstance(error, InternalError)
            connection.execute(RECORD_FAILURE, params | {"defects": int(is_defect)})

    def count_defects(self, operation_id: str) -> int:
        """Return the number of attempts that an unexpected error has ended."""
        with self._database.read() as connection:
            return connection.execute(COUNT_DEFECTS, {"id": operation_id}).scalar() or 0

    def request_retry(self, operation: Operation, entry: AuditEntry) -> bool:
        """Let the engine attempt an operation without delay; return False if it is finished."""
        with self._database.write() as connection:
            params = {"of": operation.id, "at": entry.at}
            if connection.execute(REQUEST_RETRY, params).rowcount == 0:
                return False
            audit.append(connection, entry)
        return True

    def end(self, finished: Operation, entry: AuditEntry) -> Operation:
        """Save the end of an operation, with all that follows, and the act of the operator.

        Raises OperationRevisionConflict if an engine has saved the operation since it was read.
        """
        saved = replace(finished, revision=finished.revision + 1)
        with self._database.write() as connection:
            params = mapper.update_params(saved)
            if connection.execute(mapper.UPDATE_OPERATION, params).rowcount == 0:
                raise OperationRevisionConflict(saved.id)
            audit.append(connection, entry)
            transitions.on_saved(connection, saved, None, None)
        return saved

    def _list(self, query: Any, **params: object) -> Sequence[OperationReport]:
        with self._database.read() as connection:
            rows = connection.execute(query, params).all()
        reports = map(_to_report, rows)
        return [report for report in reports if report is not None]


def _to_report(row: Row[Any]) -> OperationReport | None:
    operation = decode_row(row)
    if operation is None:
        return None
    return OperationReport(
        operation,
        age_seconds=to_seconds(row.age),
        failed_attempts=row.failed_attempts,
        last_failure=OperationError(**row.last_failure) if row.last_failure else None,
        last_failed_at=row.last_failed_at,
        is_leased=not (operation.is_finished or row.is_lease_expired),
    )
