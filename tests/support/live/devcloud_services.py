"""The services of a devcloud: kill, stop and start them."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.support.live.api_script import wait_for

DEVCLOUD = Path(__file__).parents[2] / "live" / "devcloud" / "devcloud.sh"


def killed_service(service: str) -> AbstractContextManager[Callable[[], None]]:
    """Kill a service; start it after the `with` block, or when the block calls the result."""
    return stopped_service(service, "kill")


@contextmanager
def stopped_service(service: str, command: str) -> Iterator[Callable[[], None]]:
    """Kill a service, or stop it gracefully, for a `with` block."""

    def start() -> None:
        # the killed process may hold its port for a short time
        wait_for(lambda: _devcloud("start", service).returncode == 0)

    result = _devcloud(command, service)
    try:
        assert result.returncode == 0, result.stderr
        yield start
    finally:
        start()


def fill_cloud(count: int, prefix: str) -> None:
    """Make `count` servers, most of them as copies in the databases: a boot takes long."""
    result = _devcloud("fill", str(count), prefix)
    assert result.returncode == 0, result.stderr


def _devcloud(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEVCLOUD, *command], capture_output=True, text=True, check=False)


def flush_token_caches() -> None:
    """Flush the token caches, so that every service validates tokens with Keystone again."""
    port = int(os.environ.get("DEVCLOUD_MC_PORT", "11211"))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as memcached:
        memcached.sendall(b"flush_all\r\n")
        assert memcached.recv(16) == b"OK\r\n"
