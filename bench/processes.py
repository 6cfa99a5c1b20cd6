"""Run processes, and measure their CPU time and memory."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCHEDULER_CLOCK = 2
STOP_SECONDS = 10.0
"""How long a process may take to stop; then it is killed."""
SETTING_PREFIXES = ("VMAPI_", "OS_", "OPENSTACK_", "API_VERSION", "LOG_LEVEL", "WEB_CONCURRENCY")
REMOVED_VARIABLES = (*SETTING_PREFIXES, "PYTHONDONTWRITEBYTECODE")


def build_environment(settings: Mapping[str, str], **more: str) -> dict[str, str]:
    """Return the environment of this process with these settings of vmapi, and no others.

    Processes write compiled modules, as they do at an operator's.
    """
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith(REMOVED_VARIABLES)
    }
    return {**inherited, "PYTHONPATH": str(ROOT), **settings, **more}


def remove_settings() -> None:
    """Remove the settings of vmapi from the environment of this process."""
    for name in [name for name in os.environ if name.startswith(SETTING_PREFIXES)]:
        del os.environ[name]


@contextmanager
def run_process(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process during the block, and stop it and its children afterwards."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it and its children if it does not stop in time."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in list_tree(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def list_children(pid: int) -> list[int]:
    """Return the ids of the child processes."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return sorted(int(child) for text in texts for child in text.split())


def list_tree(pid: int) -> list[int]:
    """Return the id of a process, and those of its descendants."""
    return [pid, *(member for child in list_children(pid) for member in list_tree(child))]


def read_cpu_seconds(pid: int) -> float:
    """Return the CPU time of one process, user and system, of all its threads.

    The files in /proc count in hundredths of a second. The clock of the process is exact; its id
    is that of clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | SCHEDULER_CLOCK)


def read_ended_cpu_seconds(pid: int) -> float:
    """Return the CPU time of the ended children of a process, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[13:15]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def read_tree_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its descendants, user and system."""
    return sum(map(read_cpu_seconds, list_tree(pid)))


def read_memory_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB (2^20 bytes), as `top` shows it."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
