"""The folder for the metrics of the workers."""

from pathlib import Path

import pytest

from tests.support.processes import free_port
from vmapi.server import worker_metrics
from vmapi.server.worker_metrics import WorkerMetrics
from vmapi.settings.settings import Settings


def test_folder_that_another_server_removes_fails_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_metrics, "MEMORY_FOLDER", tmp_path)
    # listed, and removed before it is examined
    monkeypatch.setattr(Path, "glob", lambda *_: iter([tmp_path / "vmapi-metrics-1-removed"]))
    metrics = WorkerMetrics(Settings(metrics_bind=f"127.0.0.1:{free_port()}"))
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("vmapi-metrics-")
    metrics.close()
    assert list(tmp_path.iterdir()) == []
