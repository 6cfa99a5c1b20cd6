"""Check for changes, once for all reads that wait.

A check serves the reads that arrived before it was sent, as a group commit serves the transactions
that wait for the disk. A failed check fails all reads that waited for it, so that none waits for
two failures.

A read sends a check and waits two milliseconds for the result, in any thread. Where it takes
longer, or where changes are to be read from a server, the read continues like any other use of the
database: within the bounds of its bulkhead, and in a thread that may wait. No read waits shortly
for a check that has taken longer already.

In the poller thread, one check serves all requests that arrived together: see `current_batch`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from vmapi.concurrency.nonblocking import current_batch
from vmapi.errors import StoreUnavailable
from vmapi.store.connections import answer_timeout, engine_setup
from vmapi.store.connections.outages import NO_ANSWER
from vmapi.store.database import Database
from vmapi.store.inventory.changes import NO_CLOCKS, ChangeReader, Changes, Clocks

QUICK_ANSWER_SECONDS = 0.002
"""Seconds that any thread waits for the result of a check."""


class ChangeChecker:
    """Checks for changes. Thread-safe.

    `apply` gets a function that reads the changes, and calls it once.
    """

    clocks: Clocks = NO_CLOCKS
    """The clocks at the last check of which the changes are applied.

    Take them before the VMs: those that another check brings may belong to newer VMs.
    """

    def __init__(
        self,
        database: Database,
        reader: ChangeReader,
        apply: Callable[[Callable[[], Changes | None]], None],
    ) -> None:
        self._database = database
        self._reader = reader
        self._apply = apply
        self._errors = (database.driver_error, SQLAlchemyError, StoreUnavailable)
        self._lock = Lock()
        self._holds_lock_long = False
        self._checked_batch: object = None
        self._sent_checks = 0
        self._answered_checks = 0
        self._applied_checks = 0
        self._failed_checks = 0

    def check(self) -> None:
        """Apply the changes that were committed before this call.

        Raises StoreUnavailable; WouldBlock in a thread that must not wait.
        """
        batch = current_batch()
        if batch is not None and batch is self._checked_batch:
            return
        arrived_at = self._sent_checks
        if not self._check_quickly(arrived_at):
            self._check_patiently(arrived_at)
        self._checked_batch = batch

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def _check_quickly(self, arrived_at: int) -> bool:
        """Check within a short time; return False if it takes longer."""
        if not self._lock.acquire(timeout=0 if self._holds_lock_long else QUICK_ANSWER_SECONDS):
            return False
        try:
            seconds = 0 if self._reader.is_pending else QUICK_ANSWER_SECONDS
            return self._reader.is_connected and self._run(arrived_at, seconds)
        except self._errors:
            # the next attempt finds out why
            self._disconnect()
            return False
        finally:
            self._lock.release()

    def _check_patiently(self, arrived_at: int) -> None:
        failed_before = self._failed_checks
        with self._database.reading(), self._holding_lock_long():
            if self._failed_checks != failed_before:
                raise StoreUnavailable(NO_ANSWER)
            try:
                self._run_connected(arrived_at)
            except BaseException:
                self._failed_checks += 1
                self._disconnect()
                raise

    @contextmanager
    def _holding_lock_long(self) -> Iterator[None]:
        with self._lock:
            self._holds_lock_long = True
            try:
                yield
            finally:
                self._holds_lock_long = False

    def _run_connected(self, arrived_at: int) -> None:
        if self._reader.is_connected:
            # the server may have ended the connection, or its peer has vanished
            with suppress(*self._errors):
                if self._run(arrived_at, engine_setup.PING_TIMEOUT):
                    return
            self._disconnect()
        self._reader.connect()
        seconds = answer_timeout.REQUEST_ANSWER_TIMEOUT
        if not self._run(arrived_at, seconds):
            raise StoreUnavailable(NO_ANSWER, reason=f"no answer within {seconds} s")

    def _run(self, arrived_at: int, seconds: float) -> bool:
        """Complete a check that was sent after a read arrived; return False if it takes longer."""
        if self._applied_checks > arrived_at:
            return True
        while self._answered_checks <= arrived_at:
            if not self._reader.is_pending:
                # before it is sent: a read that arrives in between needs the next check
                self._sent_checks += 1
                self._reader.send()
            if not self._reader.receive(seconds):
                return False
            self._answered_checks = self._sent_checks
        if self._reader.has_changes:
            if self._reader.may_wait and seconds <= QUICK_ANSWER_SECONDS:
                return False
            self._apply(self._reader.read_changes)
        self.clocks = self._reader.clocks
        self._applied_checks = self._answered_checks
        return True

    def _disconnect(self) -> None:
        # the first check of the next connection finds that everything may have changed
        self._answered_checks = self._applied_checks
        self._reader.close()
