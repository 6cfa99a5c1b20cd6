"""A connection to PostgreSQL that waits a bounded time for each answer.

The kernel of a server that is stopped, or blocked by its disk, acknowledges all data: neither
keepalives nor `tcp_user_timeout` notice it, and `lock_timeout` needs a server that runs. So the
client limits the wait. `vmapi.store.connections.engine_setup` opens these connections.
"""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from vmapi.store.connections.answer_timeout import current_answer_timeout

T = TypeVar("T")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer does not arrive in time."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer. Raises OperationalError after the timeout."""
        bound = current_answer_timeout() if timeout is None else timeout
        try:
            return super().wait(gen, interval, bound)
        except psycopg.OperationalError:
            # still active: without the answer, the connection is of no use
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise
