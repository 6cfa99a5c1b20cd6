"""Save the changes of a cloud with a change feed, each change set once and in order."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmapi.backends.base import Backend
from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.domain.observation import Observation
from vmapi.errors import BackendFailure, StoreUnavailable
from vmapi.store.connections.answer_timeout import current_answer_timeout
from vmapi.store.store import Store

if TYPE_CHECKING:
    from vmapi.store.operations.saving import SavedOperation

MAX_READ_ATTEMPTS = 3
"""How often the feed is read while a row is newer than the change set, and may lack a change."""

MAX_VMS_WITH_OPERATION = 100
"""VMs that one transaction saves together with an operation."""


class ChangeFeedReader:
    """Saves the changes of one cloud. `full_sync` saves all VMs where the feed is incomplete."""

    def __init__(self, backend: Backend, store: Store, full_sync: Callable[[], None]) -> None:
        self._backend = backend
        self._store = store
        self._full_sync = full_sync
        self._lock = threading.Lock()
        self._failures = 0
        self._position: int | None = None

    def read(self) -> bool:
        """Save the changes since the last call, where the cloud has a change feed.

        Returns False where it has none. Afterwards the inventory is as current as the cloud. Raises
        StoreUnavailable if the changes cannot be saved in time.
        """
        if not self._backend.has_change_feed:
            return False
        position = self._position
        if self._backend.list_changes_after(position).position == position:
            return True
        raise_if_nonblocking()
        with self._backend.limit_waiting(), self._turn() as may_save:
            if may_save:
                self._save_changes()
                return True
        raise StoreUnavailable("The changes of the cloud cannot be saved now.")

    def save_with_changes(
        self, save: "Callable[[Observation | None], SavedOperation]"
    ) -> "SavedOperation":
        """Save an operation together with the changes since the last call.

        `save` gets None where the feed cannot be read now: the next read saves the changes.
        """
        with self._turn() as may_save:
            observation, position = self._observe_changes() if may_save else (None, None)
            saved = save(observation)
            if saved.has_saved_observation:
                self._position = position
            return saved

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Wait for other threads that save changes; yield whether this thread may save any.

        It may not after the time that a thread waits for the database, or if a thread before it has
        failed. Then it holds no lock.
        """
        failed_before, timeout = self._failures, current_answer_timeout()
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            yield False
            return
        if self._failures != failed_before:
            self._lock.release()
            yield False
            return
        try:
            yield True
        except StoreUnavailable:
            self._failures += 1
            raise
        finally:
            self._lock.release()

    def _observe_changes(self) -> tuple[Observation | None, int | None]:
        """Return the next change set, sorted by VM id, and its position."""
        try:
            started_at = self._store.inventory.observation_time()
            changes = self._backend.list_changes_after(self._position)
            if not changes.is_complete or len(changes.vms) > MAX_VMS_WITH_OPERATION:
                self._save_changes()
                return None, None
        except BackendFailure:
            return None, None
        vms = sorted(changes.vms, key=lambda vm: vm.id)
        return Observation(started_at, vms), changes.position

    def _save_changes(self) -> None:
        any(self._save_next() for _ in range(MAX_READ_ATTEMPTS))

    def _save_next(self) -> bool:
        """Save the next change set; return False if a row is newer and may lack a change."""
        inventory = self._store.inventory
        started_at = inventory.observation_time()
        changes = self._backend.list_changes_after(self._position)
        if not changes.is_complete:
            self._full_sync()
        elif changes.vms:
            saved_ids = inventory.save_observations(changes.vms, started_at)
            if len(saved_ids) < len(changes.vms):
                return False
        self._position = changes.position
        return True
