"""A flag that signal handlers set: they may interrupt each other."""

import subprocess
import sys

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment

INTERRUPT_SCRIPT = """
import sys
from vmapi.concurrency.signal_flag import SignalFlag

flag = SignalFlag()

def interrupt(*_):
    # as a handler of a signal does, between any two lines
    flag.set()
    return interrupt

sys.settrace(interrupt)
flag.set()
sys.settrace(None)
print(flag.is_set())
"""


def test_handler_that_interrupts_the_setting_sets_the_flag() -> None:
    command = [sys.executable, "-c", INTERRUPT_SCRIPT]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=build_environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    assert result.stdout == "True\n"
