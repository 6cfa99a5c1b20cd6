"""Server processes: gunicorn with vmapi and nginx, as an operator starts them."""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_client import WAIT_SECONDS, HttpClient, wait_until

ROOT = Path(__file__).parents[2]
REMOVED_VARIABLES = re.compile(
    r"VMAPI_|OS_|OPENSTACK_|API_VERSION|LOG_LEVEL|WEB_CONCURRENCY|GUNICORN|FLASK|PYTEST"
    r"|PYTHONDONTWRITEBYTECODE"
)

PASS_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def build_environment(**settings: str) -> dict[str, str]:
    """Return the environment of this process with these settings of vmapi, and no others.

    Processes write compiled modules: each start would compile all of them otherwise.
    """
    variables = os.environ.items()
    inherited = {name: value for name, value in variables if not REMOVED_VARIABLES.match(name)}
    return {**inherited, "PYTHONPATH": f"{ROOT}:{ROOT}/clients/python", **settings}


def free_port() -> int:
    """Find a free port below the ephemeral ports."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def require_program(program: str, name: str) -> str:
    """Return the path of a program; skip without it, fail where TEST_REQUIRE names it."""
    path = shutil.which(program)
    if path is None:
        required = name in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"{name} is not installed")
    return path


class ServerProcess:
    """A process that listens on a port and writes a log file."""

    stop_timeout = 5.0
    """Seconds to stop in, after which the process is killed."""

    def __init__(self, directory: Path, name: str, port: int | None = None) -> None:
        self.directory = directory
        self.log = directory / f"{name}.log"
        self.port = port or free_port()
        self.call = HttpClient(self.port)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self, *command: str, env: dict[str, str] | None = None, **options: Any) -> None:
        """Start the process and append its output to the log."""
        options |= {"cwd": self.directory, "env": env or build_environment()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **options)

    def read_log(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, path: str) -> None:
        """Wait until a GET has the status 200; fail with the end of the log."""
        try:
            wait_until(path, lambda: self._serves(path))
        except (AssertionError, TimeoutError) as error:
            pytest.fail(f"{self.log.name}: {error}\n{self.read_log()[-3000:]}")

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
        """Kill the process and its children, as when the machine goes down."""
        for pid in (self.pid, *self.child_pids()):
            os.kill(pid, 9)
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
        command = [sys.executable, "-m", "gunicorn", *configured, *arguments, app]
        handed = () if listener_fd is None else (listener_fd,)
        if listener_fd is not None:
            command = [sys.executable, "-c", PASS_SOCKET, str(listener_fd), *command]
        self.spawn(*command, env=build_environment(**self.settings), pass_fds=handed)
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


class Nginx(ServerProcess):
    """nginx with the configuration in `config/` and other addresses."""

    def __init__(self, directory: Path, upstream: int) -> None:
        super().__init__(directory, "nginx")
        self.config = directory / "nginx.conf"
        self.config.write_text((ROOT / "config/nginx.conf").read_text())
        self.replace("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};")
        self.listen()

    def listen(self) -> None:
        """Replace the port in the configuration by this server's port."""
        self.replace("\n        listen 8080;", f"\n        listen 127.0.0.1:{self.port};")

    def replace(self, old: str, new: str) -> None:
        """Replace a text that the configuration has once."""
        text = self.config.read_text()
        assert text.count(old) == 1, old
        self.config.write_text(text.replace(old, new))

    def start(self) -> "Nginx":
        """Start nginx and wait until it listens."""
        program = require_program("nginx", "nginx")
        # root may read the test's directory, the user that root would change to may not
        user = "user root; " if os.geteuid() == 0 else ""
        options = ("-p", str(self.directory), "-e", "stderr", "-c", str(self.config))
        self.spawn(program, *options, "-g", f"{user}daemon off;")
        wait_until("nginx", self._listens)
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"nginx: exited, {self.process.returncode}\n{self.read_log()[-3000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
