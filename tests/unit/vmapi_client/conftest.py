"""Fixtures of the tests of the Python client."""

from pathlib import Path

import pytest

from tests.support.client_plans import PlanRunner
from tests.support.vmctl import Vmctl

CLOSED_URL = "http://127.0.0.1:9"
"""A URL without a server."""


@pytest.fixture
def runner() -> PlanRunner:
    return PlanRunner()


@pytest.fixture
def offline_vmctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Vmctl:
    """Run vmctl without a server."""
    return Vmctl(tmp_path, monkeypatch, capsys, CLOSED_URL)
