"""Ctrl-C at any step of vmctl: the exit code 130, and nothing on stderr."""

import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment
from tests.support.vmctl import VMCTL

INTERRUPTING_FINDER = """
import os, sys
class InterruptingFinder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, InterruptingFinder())
"""
INTERRUPTED_FINALIZER = """
import os
from vmapi_client.cli.interrupts import raising_interrupts
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), 2)
        sum(range(1000))
with raising_interrupts():
    Finalized()
print("the interrupt was ignored")
"""
IGNORED_INTERRUPT = """
import os
from vmapi_client.cli.interrupts import end_process_on_interrupt, raising_interrupts
end_process_on_interrupt()
with raising_interrupts():
    os.kill(os.getpid(), 2)
print("done")
"""
REPORTS_OF_OTHER_THREADS = """
import logging, os
from vmapi_client.cli.app import report_repeats
from vmapi_client.cli.interrupts import Interrupted, raising_interrupts
report_repeats()
logger = logging.getLogger("vmapi_client")
logger.info("before")
try:
    with raising_interrupts():
        os.kill(os.getpid(), 2)
except Interrupted:
    logger.info("a request failed, since the command has closed its client")
"""
IMPORTS_OF_ENTRY = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] in ("importlib", "warnings")]:
    # the environment may have imported them
    del sys.modules[name]
before = set(sys.modules)
import vmapi_client.cli.entry
print(*sorted(set(sys.modules) - before))
"""


def run_python(
    script: str, *arguments: str, handler: signal.Handlers = signal.SIG_DFL
) -> subprocess.CompletedProcess[str]:
    """Run a script with a handler of SIGINT."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=build_environment(
            PYTHONPATH=f"{ROOT}/clients/python",
            VMAPI_CONTEXTS_FILE="/nonexistent/contexts.json",
            VMAPI_URL="http://127.0.0.1:9",
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
        preexec_fn=partial(signal.signal, signal.SIGINT, handler),
    )


@pytest.mark.parametrize(
    "module",
    [
        "signal",
        "click",
        "vmapi_client.cli.run",
        "vmapi_client.cli.program",
        "vmapi_client.cli.commands.vms",
        "vmapi_client.sync.client",
        "httpx",
    ],
)
def test_interrupt_of_an_import_ends_silently(module: str) -> None:
    # `list` imports all of them
    ran = run_python(INTERRUPTING_FINDER.format(module=module) + VMCTL, "list", "--timeout", "1s")
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_interrupt_of_a_finalizer_ends_the_process() -> None:
    ran = run_python(INTERRUPTED_FINALIZER)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_ignored_interrupt_stays_ignored() -> None:
    ran = run_python(IGNORED_INTERRUPT, handler=signal.SIG_IGN)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "done\n", "")


def test_interrupt_ends_the_reports_of_other_threads() -> None:
    ran = run_python(REPORTS_OF_OTHER_THREADS)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "vmctl: before\n")


def test_nothing_else_is_imported_before_the_handler_of_ctrl_c() -> None:
    ran = run_python(IMPORTS_OF_ENTRY)
    assert ran.stdout.split() == [
        "vmapi_client",
        "vmapi_client.cli",
        "vmapi_client.cli.entry",
        "vmapi_client.version",
    ]
