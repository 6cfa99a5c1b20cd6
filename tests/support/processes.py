"""Servers as an operator starts them: as processes of their own, stopped again in any case."""

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
OURS = re.compile(
    r"VMAPI_|OS_|OPENSTACK_|API_VERSION|LOG_LEVEL|WEB_CONCURRENCY|GUNICORN|FLASK|PYTEST"
)

HAND_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def build_environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def free_port() -> int:
    """Find a port that nobody has, below those that clients are given."""
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
    """Return where a program is; skip without it, or fail where TEST_REQUIRE names it."""
    found = shutil.which(program)
    if found is None:
        required = name in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"{name} is not installed")
    return str(found)


class ServerProcess:
    """A process that listens on a port and writes a log."""

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
        """Start the process; its log is added to."""
        options |= {"cwd": self.directory, "env": env or build_environment()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **options)

    def read_log(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, path: str) -> None:
        """Wait until a GET is answered with 200; fail with the log's tail when it will not be."""
        try:
            wait_until(path, lambda: self._serves(path))
        except (AssertionError, TimeoutError) as late:
            pytest.fail(f"{self.log.name}: {late}\n{self.read_log()[-3000:]}")

    def _serves(self, path: str) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(
                f"{self.log.name}: gone, {self.process.returncode}\n{self.read_log()[-3000:]}"
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
        """End the process, whatever it is doing."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Let it die with all its children, as when the machine goes down."""
        for pid in (self.pid, *self.child_pids()):
            os.kill(pid, 9)
        self.wait_for_exit()

    def child_pids(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]


class Gunicorn(ServerProcess):
    """gunicorn with our config, on a memory cloud."""

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
        """Start it without waiting for it; `door` is a socket, handed on as systemd does."""
        configured = ("-c", str(ROOT / "config/gunicorn.conf.py")) if config else ()
        command = [sys.executable, "-m", "gunicorn", *configured, *arguments, app]
        handed = () if listener_fd is None else (listener_fd,)
        if listener_fd is not None:
            command = [sys.executable, "-c", HAND_ON, str(listener_fd), *command]
        self.spawn(*command, env=build_environment(**self.settings), pass_fds=handed)
        return self

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what it logged: every line of it has to be one JSON object."""
        lines = [json.loads(line) for line in self.read_log().split("\n")[:-1]]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def wait_for_line(self, **members: object) -> dict[str, Any]:
        """Wait for a line that has these members."""

        def look() -> dict[str, Any] | None:
            fits = (one for one in self.log_lines() if members.items() <= one.items())
            return next(fits, None)

        return dict(wait_until(f"a line in the log with {members}", look))


class Nginx(ServerProcess):
    """nginx with our config, but for the two addresses."""

    def __init__(self, directory: Path, upstream: int) -> None:
        super().__init__(directory, "nginx")
        self.config = directory / "nginx.conf"
        self.config.write_text((ROOT / "config/nginx.conf").read_text())
        self.replace("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};")
        self.listen()

    def listen(self) -> None:
        """Have it listen on this server's port."""
        self.replace("\n        listen 8080;", f"\n        listen 127.0.0.1:{self.port};")

    def replace(self, ours: str, here: str) -> None:
        """Replace what stands once in the config."""
        text = self.config.read_text()
        assert text.count(ours) == 1, ours
        self.config.write_text(text.replace(ours, here))

    def start(self) -> "Nginx":
        """Start it and wait until it listens."""
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
            pytest.fail(f"nginx: gone, {self.process.returncode}\n{self.read_log()[-3000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
