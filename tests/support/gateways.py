"""The proxies in front of vmapi, with the configurations that an operator installs."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.processes import (
    ROOT,
    ServerProcess,
    build_environment,
    free_port,
    require_program,
)


class Gateway(ServerProcess):
    """A proxy with a configuration of the repository and other addresses."""

    def __init__(self, directory: Path, name: str, source: str) -> None:
        super().__init__(directory, name)
        self.config = directory / Path(source).name
        self.config.write_text((ROOT / source).read_text())

    def replace(self, old: str, new: str) -> None:
        """Replace a text that the configuration has once."""
        text = self.config.read_text()
        assert text.count(old) == 1, old
        self.config.write_text(text.replace(old, new))

    def wait_for_listener(self) -> Self:
        """Wait until the proxy accepts connections."""
        wait_until(self.log.name, self._listens)
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(
                f"{self.log.name}: exited, {self.process.returncode}\n{self.read_log()[-3000:]}"
            )
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Nginx(Gateway):
    """nginx with the configuration in `config/` and other addresses."""

    def __init__(self, directory: Path, upstream: int) -> None:
        super().__init__(directory, "nginx", "config/nginx.conf")
        self.replace("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};")
        self._maintenance = directory / "maintenance"
        self.replace("/etc/vmapi/maintenance", str(self._maintenance))
        self.listen()

    def listen(self) -> None:
        """Replace the port in the configuration by this server's port."""
        self.replace("\n        listen 8080;", f"\n        listen 127.0.0.1:{self.port};")

    def start(self) -> "Nginx":
        """Start nginx and wait until it listens."""
        program = require_program("nginx", "nginx")
        # root may read the test's directory, the user that root would change to may not
        user = "user root; " if os.geteuid() == 0 else ""
        options = ("-p", str(self.directory), "-e", "stderr", "-c", str(self.config))
        self.spawn(program, *options, "-g", f"{user}daemon off;")
        return self.wait_for_listener()

    def begin_maintenance(self) -> None:
        """Create the file that closes the API."""
        self._maintenance.touch()

    def end_maintenance(self) -> None:
        """Remove the file."""
        self._maintenance.unlink()


class Haproxy(Gateway):
    """HAProxy with the configuration in `deploy/` and other addresses: one or two instances."""

    def __init__(self, directory: Path, *upstreams: int) -> None:
        super().__init__(directory, "haproxy", "deploy/haproxy/haproxy.cfg")
        addresses = [f"127.0.0.1:{port}" for port in upstreams]
        self._addresses = {f"API{number}_ADDRESS": to for number, to in enumerate(addresses, 1)}
        if len(upstreams) == 1:
            self.replace('    server api2 "${API2_ADDRESS}"\n', "")
        self._socket = directory / "admin.sock"
        self.replace("stats socket /run/haproxy/admin.sock", f"stats socket {self._socket}")
        self._switches = directory / "switches.map"
        self._switches.write_text((ROOT / "deploy/haproxy/switches.map").read_text())
        self.replace("/etc/haproxy/switches.map", str(self._switches))
        self.listen()

    def listen(self) -> None:
        """Name this server's port."""
        self._addresses["BIND_ADDRESS"] = f"127.0.0.1:{self.port}"

    def start(self) -> "Haproxy":
        """Start HAProxy and wait until it listens."""
        program = require_program("haproxy", "haproxy")
        environment = build_environment(**self._addresses)
        self.spawn(program, "-f", str(self.config), env=environment)
        wait_until("the socket of the administrator", self._socket.exists)
        return self.wait_for_listener()

    def begin_maintenance(self) -> None:
        """Set the switch that closes the API."""
        self.send_command(f"set map {self._switches} maintenance on")

    def end_maintenance(self) -> None:
        """Reset the switch."""
        self.send_command(f"set map {self._switches} maintenance off")

    def send_command(self, command: str) -> None:
        """Send a command to the socket of the administrator; HAProxy accepts it without a word."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WAIT_SECONDS)
            connection.connect(str(self._socket))
            connection.sendall(f"{command}\n".encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.strip() == b"", answer


class ApiGateway(Haproxy):
    """HAProxy with the rules of `gateway.cfg`: two versions of vmapi, and the neighbours.

    `port` is that of the gateway.
    """

    def __init__(
        self, directory: Path, upstream: int, next_upstream: int, neighbours: Mapping[str, int]
    ) -> None:
        super().__init__(directory, upstream)
        self._addresses["BIND_ADDRESS"] = f"127.0.0.1:{free_port()}"
        rules = (ROOT / "deploy/haproxy/gateway.cfg").read_text()
        rules = rules.replace("/etc/haproxy/switches.map", str(self._switches))
        self.config.write_text(self.config.read_text() + rules)
        self.keys = directory / "keys.map"
        self.keys.write_text((ROOT / "deploy/haproxy/keys.map").read_text())
        self.replace("map(/etc/haproxy/keys.map)", f"map({self.keys})")
        self.replace("bind :8090\n", f"bind 127.0.0.1:{self.port}\n")
        self.replace("127.0.0.1:8101", f"127.0.0.1:{next_upstream}")
        for number, port in enumerate(neighbours.values(), 8201):
            self.replace(f"127.0.0.1:{number}", f"127.0.0.1:{port}")
