"""Server processes: gunicorn with vmapi and nginx, as an operator starts them."""

import fcntl
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import ROOT, build_environment
from tests.support.fork_server import ForkedProcess, has_preloaded_code
from tests.support.http_client import WAIT_SECONDS, HttpClient, wait_until

FLASK_COMMAND = (sys.executable, "-m", "flask", "--app", "wsgi")

PORTS = range(10_000, 32_000)
"""Ports below the ephemeral ones."""

LAST_PORT = Path(tempfile.gettempdir()) / f"vmapi-tests-last-port-{os.getuid()}"
"""A file with the port that a test process of this user got last."""

PASS_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def run_flask(directory: Path, settings: Mapping[str, str], *arguments: str) -> None:
    """Run a command of vmapi in a directory."""
    environment = build_environment(**settings)
    subprocess.run((*FLASK_COMMAND, *arguments), env=environment, cwd=directory, check=True)


def free_port() -> int:
    """Find a free port, which no other test process gets before its server listens."""
    with LAST_PORT.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        last = PORTS.index(int(file.read() or random.choice(PORTS)))
        ports = (PORTS[(last + step) % len(PORTS)] for step in count(1))
        port = next(filter(_is_free, ports))
        file.truncate(0)
        file.write(str(port))
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_program(program: str, name: str) -> str:
    """Return the path of a program; skip without it, fail where TEST_REQUIRE names it."""
    path = shutil.which(program)
    require_installed(name, is_installed=path is not None)
    assert path is not None
    return path


def require_installed(name: str, *, is_installed: bool) -> None:
    """Skip without a service; fail where TEST_REQUIRE names it."""
    if not is_installed:
        required = name in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"{name} is not installed")


class ServerProcess:
    """A process that listens on a port and writes a log file."""

    stop_timeout = WAIT_SECONDS
    """Seconds to stop in, after which the process is killed."""

    is_forked = True
    """Whether a fork replaces the start of Python, where nothing else differs."""

    def __init__(self, directory: Path, name: str, port: int | None = None) -> None:
        self.directory = directory
        self.log = directory / f"{name}.log"
        self.port = port or free_port()
        self.call = HttpClient(self.port)
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self, *command: str, env: dict[str, str] | None = None, **options: Any) -> None:
        """Start the process and append its output to the log."""
        options |= {"cwd": self.directory, "env": env or build_environment()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **options)

    def spawn_python(self, module: str, *arguments: str, **settings: str) -> None:
        """Start `python -m MODULE` with these settings, and append its output to the log."""
        env = build_environment(**settings)
        if not (self.is_forked and has_preloaded_code(env)):
            self.spawn(sys.executable, "-m", module, *arguments, env=env)
            return
        with self.log.open("ab") as log:
            self.process = ForkedProcess(
                module, *arguments, cwd=self.directory, env=env, stdout=log, stderr=log
            )

    def read_log(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, path: str) -> None:
        """Wait until a GET has the status 200; fail with the end of the log."""
        try:
            wait_until(path, lambda: self._serves(path))
        except (AssertionError, TimeoutError) as error:
            pytest.fail(f"{self.log.name}: {error}\n{self.read_log()[-3000:]}")

    def answers(self, path: str) -> bool:
        """Return whether a GET has any response."""
        try:
            return self.call("GET", path).status > 0
        except OSError:
            return False

    def _serves(self, path: str) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(
                f"{self.log.name}: exited, {self.process.returncode}\n{self.read_log()[-3000:]}"
            )
        try:
            return self.call("GET", path).status == 200
        except OSError:
            return False

    def wait_for_exit(self) -> int:
        """Wait for the process to end, and return its exit code."""
        assert self.process is not None
        return self.process.wait(WAIT_SECONDS)

    def stop(self) -> None:
        """Terminate the process, and kill it if it does not stop in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process and its children, as when the machine goes down; wait for all ends.

        A child holds the sockets until its end, which may come after that of the process.
        """
        with ExitStack() as stack:
            processes = [os.pidfd_open(pid) for pid in (self.pid, *self.child_pids())]
            for process in processes:
                stack.callback(os.close, process)
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            for process in processes:
                assert select.select([process], (), (), WAIT_SECONDS)[0]
        self.wait_for_exit()

    def child_pids(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]


class Gunicorn(ServerProcess):
    """gunicorn with the configuration in `config/`, on the memory cloud."""

    def __init__(self, directory: Path, port: int | None = None, **settings: str) -> None:
        super().__init__(directory, "gunicorn", port)
        self.settings = {"VMAPI_BIND": f"127.0.0.1:{self.port}", **settings}

    def start(
        self,
        *arguments: str,
        config: bool = True,
        listener_fd: int | None = None,
        app: str = "wsgi:app",
    ) -> "Gunicorn":
        """Start gunicorn without waiting. `listener_fd`: a socket passed as systemd does."""
        configured = ("-c", str(ROOT / "config/gunicorn.conf.py")) if config else ()
        gunicorn = ("gunicorn", *configured, *arguments, app)
        # another app may replace functions before vmapi imports them
        self.is_forked = self.is_forked and app == "wsgi:app"
        if listener_fd is None:
            self.spawn_python(*gunicorn, **self.settings)
        else:
            passed = (sys.executable, "-c", PASS_SOCKET, str(listener_fd), sys.executable, "-m")
            env = build_environment(**self.settings)
            self.spawn(*passed, *gunicorn, env=env, pass_fds=(listener_fd,))
        return self

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log; each line has to be one JSON object."""
        lines = [json.loads(line) for line in self.read_log().split("\n")[:-1]]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def wait_for_line(self, **members: object) -> dict[str, Any]:
        """Wait for a log line that has these members."""

        def find_line() -> dict[str, Any] | None:
            matches = (line for line in self.log_lines() if members.items() <= line.items())
            return next(matches, None)

        return dict(wait_until(f"a line in the log with {members}", find_line))
