"""Log lines of a test, parsed from standard output."""

import json
from typing import Any

import pytest

Capture = pytest.CaptureFixture[str]


def read_logs(capsys: Capture) -> list[dict[str, Any]]:
    """Return the log lines since the last call as JSON objects."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
