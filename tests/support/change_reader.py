"""A fake reader of changes, and a checker on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event
from typing import Any

from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.errors import StoreUnavailable
from vmapi.store.inventory.change_checker import ChangeChecker
from vmapi.store.inventory.changes import Clocks


class DriverError(Exception):
    """The server has ended the connection."""


class FakeBulkheadDatabase:
    """A database with a bulkhead that has room for all reads."""

    driver_error = DriverError

    def __init__(self) -> None:
        self.waiting_reads = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        raise_if_nonblocking()
        self.waiting_reads += 1
        try:
            yield
        except DriverError as error:
            raise StoreUnavailable("lost") from error
        finally:
            self.waiting_reads -= 1


class FakeChangeReader:
    """A server with a number of changes, which answers when the test lets it."""

    is_connected = is_pending = has_changes = False
    may_wait = True

    def __init__(self) -> None:
        self.server_changes = self._answer = self._known = 0
        self.answers = Event()
        self.answers.set()
        self.errors: list[Exception] = []
        self.calls: list[str] = []
        self.sent = Condition()

    def connect(self) -> None:
        self.calls.append("connect")
        self._raise_error()
        self.is_connected, self._known = True, -1

    def close(self) -> None:
        self.is_connected = self.is_pending = False

    def send(self) -> None:
        self.calls.append("send")
        self.is_pending, self._answer = True, self.server_changes

    def receive(self, seconds: float) -> bool:
        if not self.answers.wait(seconds):
            return False
        self._raise_error()
        self.is_pending, self.has_changes = False, self._answer != self._known
        return True

    @property
    def clocks(self) -> Clocks:
        """As many microseconds as changes."""
        return Clocks(self._answer, ())

    def read_changes(self) -> int:
        self._known = self._answer
        return self._known

    def _raise_error(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class CheckerHarness:
    """A checker and the changes that it has applied."""

    def __init__(self) -> None:
        self.database, self.reader = FakeBulkheadDatabase(), FakeChangeReader()
        self.applied: list[int] = []
        self.clocks_before: list[int] = []
        checker: Any = ChangeChecker
        self.checker = checker(self.database, self.reader, self.apply)

    def apply(self, read_changes: Callable[[], int]) -> None:
        self.clocks_before.append(self.checker.clocks.now)
        self.applied.append(read_changes())

    def read(self) -> int:
        """Return the number of changes that a read sees."""
        self.checker.check()
        return self.applied[-1]
