"""The lines that a test has logged."""

import json
from typing import Any

import pytest

Capture = pytest.CaptureFixture[str]


def read_logs(capsys: Capture) -> list[dict[str, Any]]:
    """Return what has been logged, as a machine reads it."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
