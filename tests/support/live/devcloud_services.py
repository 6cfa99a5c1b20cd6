"""The services of a devcloud, to be killed and brought back."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.support.live.api_script import wait_for

DEVCLOUD = Path(__file__).parents[2] / "live" / "devcloud" / "devcloud.sh"


def killed_service(service: str) -> AbstractContextManager[Callable[[], None]]:
    """Kill a service. It is back, and healthy, after the block or when the block asks for it."""
    return stopped_service(service, "kill")


@contextmanager
def stopped_service(service: str, command: str) -> Iterator[Callable[[], None]]:
    """Kill a service, or stop it when it has answered everybody, for as long as the block lasts."""

    def bring_back() -> None:
        # what was killed may hold its port for a moment more
        wait_for(lambda: _devcloud("start", service).returncode == 0)

    done = _devcloud(command, service)
    try:
        assert done.returncode == 0, done.stderr
        yield bring_back
    finally:
        bring_back()


def fill_cloud(count: int, prefix: str) -> None:
    """Have so many servers, most of them copied in the databases: a boot takes long."""
    done = _devcloud("fill", str(count), prefix)
    assert done.returncode == 0, done.stderr


def _devcloud(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEVCLOUD, *command], capture_output=True, text=True, check=False)


def flush_token_caches() -> None:
    """Make every service ask Keystone again whether a token is good."""
    port = int(os.environ.get("DEVCLOUD_MC_PORT", "11211"))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as memcached:
        memcached.sendall(b"flush_all\r\n")
        assert memcached.recv(16) == b"OK\r\n"
