"""Fixtures of the tests of the client on a server."""

from pathlib import Path

import pytest

from tests.support.processes import Gunicorn
from tests.support.vmctl import Vmctl


@pytest.fixture
def vmctl(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cloud: Gunicorn,
) -> Vmctl:
    """Run vmctl on the shared cloud."""
    return Vmctl(tmp_path, monkeypatch, capsys, f"http://127.0.0.1:{cloud.port}")
