"""A RabbitMQ node for one test; the broker of Nova is another one."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.support.processes import free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONFIGURATION = """listeners.tcp.1 = 127.0.0.1:{port}
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
log.console.level = warning
log.file = false
"""
ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"


def is_installed() -> bool:
    """Return whether a RabbitMQ server is installed."""
    return SERVER.exists()


class RabbitmqServer:
    """A node on loopback with a separate port mapper and its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._mapper_port = folder, free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self._port))
        (folder / "plugins").write_text("[].\n")
        self._log = (folder / "log").open("ab")
        mapper = ("epmd", "-address", "127.0.0.1", "-port", str(self._mapper_port))
        self._mapper = self._spawn(mapper, {})
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node, and wait until it accepts connections."""
        self._server = self._spawn((str(SERVER),), self._environment())
        end = time.monotonic() + 180
        while not self._serves():
            assert self._server.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < end, "RabbitMQ does not serve"
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill the node with SIGKILL."""
        if self._server is not None:
            _kill(self._server)
            self._server = None

    def close(self) -> None:
        """Kill the node and the port mapper."""
        self.kill()
        _kill(self._mapper)
        self._log.close()

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"vmapi{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        }

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2) as probe:
                # a node responds to an unknown protocol version with its version
                probe.sendall(b"AMQP\x00\x00\x00\x00")
                return probe.recv(4) == b"AMQP"
        except OSError:
            return False

    def _spawn(
        self, command: tuple[str, ...], variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def serve_rabbitmq() -> Iterator[RabbitmqServer]:
    """Run a node for a `with` block, and delete its files afterwards."""
    folder = Path(mkdtemp(prefix="vmapi-rabbitmq-"))
    try:
        node = RabbitmqServer(folder)
        try:
            node.start()
            yield node
        finally:
            node.close()
    finally:
        shutil.rmtree(folder)
