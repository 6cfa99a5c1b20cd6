"""The units in `deploy/systemd`, and a stand-in for the service manager that runs one."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.installed import build_installed_environment
from tests.support.processes import PASS_SOCKET, ROOT, ServerProcess

UNITS = ROOT / "deploy/systemd"
PROGRAM_OF_THE_UNITS = "/opt/vmapi/bin/vmapi"


def read_unit(name: str) -> dict[str, list[str]]:
    """Return the values of each directive of a unit."""
    directives: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            directives.setdefault(key, []).append(value)
    return directives


class UnitProcess(ServerProcess):
    """The process of a unit with its commands; the socket stays open as with `vmapi.socket`."""

    def __init__(self, directory: Path, unit: str, program: Path, **settings: str) -> None:
        super().__init__(directory, unit)
        self._directives = read_unit(unit)
        self._program = program
        self._notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = f"{directory}/notify"
        self._notifications.bind(address)
        self._notifications.setblocking(False)
        self._environment = build_installed_environment(NOTIFY_SOCKET=address, **settings)
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=4096)

    def start(self) -> "UnitProcess":
        """Start the service, and wait for its notification."""
        descriptor = self._listener.fileno()
        pass_socket = (sys.executable, "-c", PASS_SOCKET, str(descriptor))
        command = self._command("ExecStart")
        self.spawn(*pass_socket, *command, env=self._environment, pass_fds=(descriptor,))
        wait_until("the notification", self._is_ready)
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"{self.log.name}: exited\n{self.read_log()[-3000:]}")
        with suppress(BlockingIOError):
            return b"READY=1" in self._notifications.recv(4096).splitlines()
        return False

    def reload(self) -> None:
        """Run the reload command of the unit."""
        subprocess.run(self._command("ExecReload"), check=True, timeout=WAIT_SECONDS)

    def restart(self) -> None:
        """Stop the service and start it again, as `systemctl restart`."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.wait_for_exit() == 0
        self.start()

    def stop(self) -> None:
        """Stop the service, and close the socket."""
        super().stop()
        self._listener.close()
        self._notifications.close()

    def _command(self, directive: str) -> list[str]:
        (command,) = self._directives[directive]
        command = command.replace(PROGRAM_OF_THE_UNITS, str(self._program))
        if "MAINPID" in command:
            command = command.replace("${MAINPID}", str(self.pid))
        return shlex.split(command)
