"""vmctl behind a proxy of the environment: used, reported and diagnosed."""

import pytest

from tests.support.vmctl import Vmctl
from vmapi_client import AsyncClient, Client

SERVER = "http://vmapi.example.org"
CLOSED_PROXY = "http://user:hunter2@127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies of the environment of the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_doctor_reports_the_proxy_that_is_used(
    vmctl: Vmctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    # vmapi answers requests for another port, as a proxy would; no server is on that port
    proxy, vmctl.url = vmctl.url or "", "http://127.0.0.1:9"
    monkeypatch.setenv("HTTP_PROXY", proxy)
    checked = vmctl.succeed("doctor")
    titles = ["url", "proxy", "connection", "server", "clock", "token"]
    assert [line.split()[:2] for line in checked.lines] == [["ok", title] for title in titles]
    assert checked.lines[1] == f"ok      proxy        {proxy} from HTTP_PROXY"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_unreachable_proxy_is_named(
    vmctl: Vmctl, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    vmctl.url = SERVER
    monkeypatch.setenv(variable, CLOSED_PROXY)
    checked = vmctl("doctor")
    assert (checked.exit_code, len(checked.lines)) == (6, 2)
    assert checked.lines[1] == (
        f"FAILED  proxy        http://127.0.0.1:9 from {variable}: Connection refused; "
        "correct it, or add vmapi.example.org to NO_PROXY"
    )
    listed = vmctl("list", "--timeout", "2s")
    assert listed.exit_code == 6
    assert "the proxy http://127.0.0.1:9: " in listed.err
    assert "hunter2" not in listed.err + checked.out


def test_proxy_that_opens_no_tunnel_is_diagnosed(
    vmctl: Vmctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, vmctl.url = vmctl.url or "", "https://vmapi.example.org"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    checked = vmctl("doctor")
    assert (checked.exit_code, len(checked.lines)) == (6, 3)
    assert "vmapi.example.org port 443: Tunnel connection failed: 404" in checked.lines[2]


def test_exception_of_the_environment_is_honored(
    vmctl: Vmctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", CLOSED_PROXY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert "proxy" not in vmctl.succeed("doctor").out
    assert Client(vmctl.url).proxy is None
    assert AsyncClient(SERVER).proxy == Client(SERVER).proxy == "http://127.0.0.1:9"
