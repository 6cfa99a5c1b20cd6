"""The metrics of all worker processes of one gunicorn, at one address.

The master opens the listening socket and a directory. Each worker writes its values into the
directory, and answers scrapes for all workers: it accepts from the socket of the master, which
outlives the workers. `gunicorn_config.py` calls the methods of `WorkerMetrics` in its hooks.

A worker gets the lowest free slot, and with it the files of a dead worker: its counters continue,
its gauges do not.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from vmapi.services.container import Services
from vmapi.services.process_metrics import ProcessMetrics
from vmapi.services.state_metrics import DatabaseMetrics, build_samples
from vmapi.settings.settings import Settings
from vmapi.telemetry.metrics.exporter import MetricsExporter, open_listener
from vmapi.telemetry.metrics.registry import MetricRegistry, remove_gauges
from vmapi.telemetry.metrics.sampler import MetricSampler

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # nosec B108
"""A file system in memory: a full disk must not stop a worker that writes a value."""

FOLDER_PREFIX = "vmapi-metrics-"
LOCK_NAME = "lock"
"""The file that gunicorn locks while it uses the folder."""


class WorkerMetrics:
    """The metrics of the workers of this gunicorn, opened in the master."""

    def __init__(self, settings: Settings, *, replaces_server: bool = False) -> None:
        """Listen, and create the directory. Raises SettingsError.

        `replaces_server`: another gunicorn has started this one (SIGUSR2), and still listens.
        """
        self._settings = settings
        self._listener = open_listener(
            settings.metrics_bind or "", "VMAPI_METRICS_BIND", shares_port=replaces_server
        )
        self._directory, self._lock = _create_folder()
        self._slots: dict[int, Any] = {}
        self._sampler: MetricSampler | None = None
        self._exporter: MetricsExporter | None = None

    def assign_slot(self, worker: Any) -> None:
        """Reserve a slot for a worker that the master is about to fork."""
        slot = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
        self._slots[slot] = worker

    def enable(self, worker: Any) -> None:
        """Enable the metrics in a new worker, before it loads the app."""
        slot = next(number for number, user in self._slots.items() if user is worker)
        self._registry = MetricRegistry(self._directory, slot)

    def serve(self, services: Services) -> None:
        """Serve the metrics in this worker."""
        self._registry.add_source(DatabaseMetrics(services.store).collect)
        self._registry.add_source(partial(build_samples, self._settings, "api"))
        self._sampler = MetricSampler(ProcessMetrics(services.store, services.engine).collect)
        self._sampler.start()
        self._exporter = MetricsExporter(self._listener, self._registry)
        self._exporter.start()

    def stop(self) -> None:
        """Finish the scrape in progress, accept no other, and write the last values."""
        if self._exporter is not None and self._sampler is not None:
            self._exporter.stop()
            self._sampler.stop()

    def release_slot(self, worker: Any) -> None:
        """Release the slot of a dead worker, and remove its gauges."""
        for slot in [number for number, user in self._slots.items() if user is worker]:
            remove_gauges(self._directory, slot)
            del self._slots[slot]

    def close(self) -> None:
        """Close the socket and remove the directory, in the master."""
        self._listener.close()
        self._lock.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _create_folder() -> tuple[Path, TextIO]:
    """Create a folder for the files of this server, and remove those of killed servers.

    Returns the lock of the folder, too. The system releases it when the last process ends.
    """
    parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else Path(tempfile.gettempdir())
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        if lock := _try_lock(folder):
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=parent))
    lock = (folder / LOCK_NAME).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _try_lock(folder: Path) -> TextIO | None:
    """Lock the folder of another server of this user; return None while it is in use."""
    # another server may remove the folder
    with suppress(OSError), ExitStack() as stack:
        if folder.lstat().st_uid != os.geteuid():
            return None
        lock = stack.enter_context((folder / LOCK_NAME).open("r+"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stack.pop_all()
        return lock
    return None
