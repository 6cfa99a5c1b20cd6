"""A process that has imported vmapi, and forks the servers and commands of the tests.

A fork saves a test the imports, most of the CPU time of a start. The forked process has its own
environment, folder, output and arguments, as after `python -m MODULE`. vmapi reads its settings
after the fork.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

from tests.support.environment import ROOT, build_environment

PRELOADED = (
    *("gunicorn.app.wsgiapp", "flask.cli", "sqlalchemy.dialects.sqlite"),
    *("vmapi.app", "vmapi.server.logger", "vmapi.server.worker"),
)
"""What each server and command imports. `vmapi.wsgi` reads the settings."""

MAX_REQUEST_BYTES = 256 * 1024


def has_preloaded_code(env: dict[str, str]) -> bool:
    """Return whether Python would run with these variables as the fork server does."""
    variables = build_environment().items()
    preloaded = {name: value for name, value in variables if name.startswith("PYTHON")}
    return preloaded == {name: env[name] for name in env if name.startswith("PYTHON")}


def run_forked(
    module: str, *arguments: str, cwd: Path, env: dict[str, str], timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run a command without input, whatever its exit status, and return its output."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = ForkedProcess(module, *arguments, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        for file in (stdout, stderr):
            file.seek(0)
        output, errors = stdout.read().decode(), stderr.read().decode()
    return subprocess.CompletedProcess((module, *arguments), code, output, errors)


class ForkedProcess:
    """A process of the fork server, with those methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        env: dict[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> None:
        self.returncode: int | None = None
        request = json.dumps([str(cwd), env, module, arguments]).encode()
        status, sent = socket.socketpair()
        with sent:
            descriptors = (stdout.fileno(), stderr.fileno(), sent.fileno())
            socket.send_fds(connect(), [request], descriptors)
        with status:
            self._status = status.makefile("rb", buffering=0)
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM, unless the process has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


@cache
def connect() -> socket.socket:
    """Start the fork server of this process, and return its socket. It ends with this process."""
    own, passed = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with passed:
        process = subprocess.Popen(
            (sys.executable, "-m", __name__, str(passed.fileno())),
            cwd=ROOT,
            env=build_environment(),
            pass_fds=(passed.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(own.close)
    return own


def serve_forks(control: socket.socket) -> bytes:
    """Fork at each request, until the tests end; return the request in the forked process."""
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data:
                    selector.unregister(key.fd)
                    report_end(key.fd, *key.data)
                    continue
                request, descriptors, *_ = socket.recv_fds(control, MAX_REQUEST_BYTES, 3)
                pid = os.fork() if request else 0
                if pid == 0:
                    for number, descriptor in enumerate(descriptors[:2], 1):
                        os.dup2(descriptor, number)
                    return request
                *streams, status = descriptors
                for stream in streams:
                    os.close(stream)
                os.write(status, b"%d\n" % pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def report_end(descriptor: int, pid: int, status: int) -> None:
    """Report the exit code of a process to its test, if it still waits."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with socket.socket(fileno=status) as connection, suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % code)
    os.close(descriptor)


def main() -> None:
    """Serve; in a forked process, run a module as `python -m` does, and end as it ends."""
    for name in PRELOADED:
        import_module(name)
    gc.collect()
    gc.freeze()
    inherited = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        request = serve_forks(control)
    if not request:
        return
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, inherited)
    folder, environment, module, arguments = json.loads(request)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
