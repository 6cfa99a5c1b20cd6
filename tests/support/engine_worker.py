"""An engine worker, as an operator starts it: `flask --app wsgi worker`."""

from pathlib import Path

from tests.support.processes import ROOT, ServerProcess


class EngineWorker(ServerProcess):
    """An engine worker; `port` serves its metrics."""

    def __init__(self, directory: Path, **settings: str) -> None:
        super().__init__(directory, "worker")
        self.settings = {"VMAPI_WORKER_METRICS_BIND": f"127.0.0.1:{self.port}", **settings}

    def start(self) -> "EngineWorker":
        """Start the worker, and wait until it serves metrics."""
        self.spawn_python("flask", "--app", str(ROOT / "wsgi.py"), "worker", **self.settings)
        self.wait_for("/metrics")
        return self
