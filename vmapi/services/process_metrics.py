"""The resources of this process as samples of metrics: connections, memory, files, threads."""

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

from vmapi.services.container import Engine
from vmapi.store.store import Store
from vmapi.telemetry.metrics import catalog
from vmapi.telemetry.metrics.metric import Sample

MEMORY_FILE = Path("/proc/self/statm")
FILES_FOLDER = "/proc/self/fd"


class ProcessMetrics:
    """The samples of one process."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    def collect(self) -> Iterator[Sample]:
        """Read the resources of this process; none of the database before its first use."""
        yield catalog.PROCESSES, (), 1
        yield catalog.RESIDENT_BYTES, (), resident_bytes()
        yield catalog.OPEN_FILES, (), len(os.listdir(FILES_FOLDER))
        yield catalog.MAX_OPEN_FILES, (), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield catalog.THREADS, (), threading.active_count()
        yield catalog.CELERY_QUEUED_NOTIFICATIONS, (), self._engine.queued_count
        if (pool := self._store.pool_usage()) is not None:
            yield catalog.DATABASE_CONNECTIONS, ("used",), pool.used
            yield catalog.DATABASE_CONNECTIONS, ("idle",), pool.idle
            yield catalog.DATABASE_POOL_SIZE, (), pool.size


def resident_bytes() -> int:
    """Return the memory of this process in bytes (proc(5), /proc/pid/statm)."""
    pages = int(MEMORY_FILE.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
