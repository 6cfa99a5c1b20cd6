"""Operations as they are kept, for whoever looks."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import func, select

from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import KeysetPosition, Page, PageRequest
from vmapi.domain.project import Scope
from vmapi.errors import OperationNotFound
from vmapi.store.database import Database
from vmapi.store.operations import statements as queries
from vmapi.store.operations.transitions import IDEMPOTENCY_KEY_TTL
from vmapi.store.tables import operations


class OperationReader:
    """Finds operations. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def find_by_key(self, key: IdempotencyKey) -> Operation | None:
        """Return the operation that a caller's key is bound to: for 24 hours, or until it is freed.

        The fingerprint is not compared.
        """
        with self._database.read() as connection:
            found = queries.fetch_all(connection, queries.SELECT_BY_KEY, **queries.key_params(key))
        return (
            found[0]
            if found and self._clock() - found[0].created_at < IDEMPOTENCY_KEY_TTL
            else None
        )

    def get(self, operation_id: str, scope: Scope = None) -> Operation:
        """Return an operation. Raises OperationNotFound."""
        found = []
        # PostgreSQL takes no NUL in a text
        if "\0" not in operation_id:
            with self._database.read() as connection:
                found = queries.fetch_all(connection, queries.SELECT_BY_ID, id=operation_id)
        if not found or scope not in (None, found[0].project):
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return found[0]

    def list_page(
        self, query: OperationQuery, request: PageRequest, scope: Scope = None
    ) -> Page[Operation]:
        """Return a page of the operations that are asked for, the newest first."""
        clauses = queries.build_filters(query, scope)
        with self._database.snapshot() as connection:
            count = select(func.count()).select_from(operations).where(*clauses)
            total = request.after.total if request.after else connection.execute(count).scalar_one()
            found = queries.fetch_all(connection, queries.select_page(clauses, request))
        shown = found[: request.page_size]
        more = len(found) > len(shown)
        end = KeysetPosition(shown[-1].created_at, shown[-1].id, total) if more else None
        return Page(shown, total, request, end)

    def find_unfinished(self, vm_id: str) -> Operation | None:
        """Return what is under way with a VM: the newest, so a delete before what it ended."""
        with self._database.read() as connection:
            found = queries.fetch_all(connection, queries.SELECT_UNFINISHED_OF_VM, vm_id=vm_id)
        return found[-1] if found else None

    def request_ids(self, vm_id: str) -> set[str]:
        """Return by which request ids the cloud knows what was done with a VM."""
        query = select(operations.c.steps).where(operations.c.vm_id == vm_id)
        with self._database.read() as connection:
            plans = connection.execute(query).scalars().all()
        return {step["request_id"] for plan in plans for step in plan if step["request_id"]}
