"""vmctl in front of a server that stalls, and the deadline of a whole command."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.vmctl import Vmctl

STALLED_COMMANDS = [
    ("list",),
    ("watch",),
    ("event", "watch"),
    ("stop", "web-1"),
    ("create", "web-1", "--flavor", "m1.tiny", "--image", "cirros"),
    ("operation", "wait", "none"),
]


@pytest.fixture
def stalled_url() -> Iterator[str]:
    """The URL of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("command", STALLED_COMMANDS)
def test_server_that_stalls_is_exit_code_7(
    vmctl: Vmctl, stalled_url: str, command: tuple[str, ...]
) -> None:
    result = vmctl(*command, "--url", stalled_url, "--timeout", "1s")
    assert (result.exit_code, result.out) == (7, ""), result
    assert "within 1 s: no complete response in time. Check the URL" in result.err
