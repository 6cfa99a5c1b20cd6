"""A forked process of the tests is in the state of a started one, and ends as it does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import build_environment
from tests.support.fork_server import ForkedProcess, has_preloaded_code, run_forked
from tests.support.http_client import WAIT_SECONDS

STATE = """
import json, locale, os, resource, signal, sys, threading, time
state = {
    "arguments": sys.argv,
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "path": sys.path,
    "name": [__name__, __file__, __package__, sys.modules["__main__"].__name__],
    "flags": repr(sys.flags),
    "descriptors": [fd for fd in range(64) if os.path.exists(f"/proc/self/fd/{fd}")],
    "input": os.readlink("/proc/self/fd/0"),
    "streams": [[f.encoding, f.errors, f.line_buffering] for f in (sys.stdout, sys.stderr)],
    "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "threads": [thread.name for thread in threading.enumerate()],
    "ids": [os.getppid() > 0, os.getpgrp(), os.getsid(0), os.umask(0o22), os.nice(0)],
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "zone": time.tzname,
    "locale": locale.setlocale(locale.LC_ALL),
    "warnings": sys.warnoptions,
}
print(json.dumps(state))
"""

ENDS = {
    "pass": 0,
    "sys.exit(3)": 3,
    "sys.exit('a reason')": 1,
    "raise ValueError('a reason')": 1,
    "os.kill(os.getpid(), signal.SIGTERM)": -signal.SIGTERM,
    # a process in the background may ignore it
    "signal.signal(2, signal.default_int_handler); os.kill(os.getpid(), 2)": -signal.SIGINT,
}
END = """
import atexit, os, signal, sys, threading
atexit.register(print, "at exit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
print("buffered")
{end}
"""


def start_python(*command: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, "-m", *command),
        cwd=cwd,
        env=build_environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )


def fork_python(*command: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    env = build_environment(**settings)
    return run_forked(*command, cwd=cwd, env=env, timeout=WAIT_SECONDS)


def test_forked_process_has_the_state_of_a_started_one(tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text(STATE)
    command, settings = ("state", "--option", "text"), {"VMAPI_THREADS": "8", "TZ": "Asia/Tokyo"}
    states: list[dict[str, Any]] = [
        json.loads(run(*command, cwd=tmp_path, **settings).stdout)
        for run in (start_python, fork_python)
    ]
    assert states[0] == states[1]


@pytest.mark.parametrize("end", ENDS)
def test_forked_process_ends_as_a_started_one(tmp_path: Path, end: str) -> None:
    (tmp_path / "end.py").write_text(END.format(end=end))
    started, forked = (run("end", cwd=tmp_path) for run in (start_python, fork_python))
    assert (started.returncode, forked.returncode) == (ENDS[end], ENDS[end])
    assert forked.stdout == started.stdout
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_process_that_runs_can_be_polled_and_killed(tmp_path: Path) -> None:
    (tmp_path / "pause.py").write_text("import signal; signal.pause()")
    with (tmp_path / "log").open("wb") as log:
        env = build_environment()
        process = ForkedProcess("pause", cwd=tmp_path, env=env, stdout=log, stderr=log)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert (process.wait(WAIT_SECONDS), process.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONUNBUFFERED"])
def test_variable_of_python_needs_a_start(name: str) -> None:
    assert has_preloaded_code(build_environment(VMAPI_THREADS="8"))
    assert not has_preloaded_code(build_environment(**{name: "other"}))
