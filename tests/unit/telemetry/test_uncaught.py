"""The texts that Python writes to stderr, as lines of the log."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.processes import build_environment

PROCESS = """
import threading, warnings
from vmapi.telemetry.logging import configure
from vmapi.telemetry.uncaught import log_uncaught_errors

configure("INFO", serves=True)
log_uncaught_errors()

class Finalizer:
    def __del__(self):
        fail()

def fail():
    raise ValueError("first\\nsecond")

{action}
"""


def run_process(action: str) -> list[dict[str, Any]]:
    """Run an action in a process, and return its log; it writes nothing else."""
    command = (sys.executable, "-W", "always", "-c", PROCESS.format(action=action))
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, env=build_environment()
    )
    assert ended.stderr == ""
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize(
    ("action", "level", "message"),
    [
        ("fail()", "critical", "uncaught error ends the process"),
        (
            "thread = threading.Thread(target=fail); thread.start(); thread.join()",
            *("error", "uncaught error ends a thread"),
        ),
        ("Finalizer()", "error", "error in a finalizer ignored"),
    ],
)
def test_uncaught_error_is_one_line(action: str, level: str, message: str) -> None:
    (line,) = run_process(action)
    assert (line["level"], line["message"], line["logger"]) == (level, message, "vmapi.process")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: first\nsecond")


def test_python_warning_is_one_line() -> None:
    (line,) = run_process("warnings.warn('first\\nsecond', UserWarning)")
    assert (line["level"], line["message"]) == ("warning", "Python warning")
    assert (line["category"], line["reason"]) == ("UserWarning", "first\nsecond")
