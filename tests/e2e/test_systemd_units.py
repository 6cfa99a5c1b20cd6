"""The systemd units: valid, hardened, and their restarts lose no request."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.installed import InstalledServer, build_installed_environment
from tests.support.processes import ServerProcess, require_program
from tests.support.request_load import RequestLoad
from tests.support.systemd import PROGRAM_OF_THE_UNITS, UNITS, UnitProcess, read_unit
from vmapi.settings.settings import Settings

MAX_EXPOSURE = 3.0
TRUE = str(shutil.which("true"))
SERVICES = ("vmapi.service", "vmapi-worker@.service")
UNLIMITED = {
    **dict.fromkeys(("VMAPI_RATE_READS", "VMAPI_RATE_CHANGES", "VMAPI_RATE_ADDRESS"), "off"),
    "VMAPI_MEMORY_LIMITS": "vms=100000,vcpus=100000,ram_mb=9999999",
}


def analyze(*arguments: str) -> str:
    """Run systemd-analyze, which has to find no fault, and return its output."""
    program = require_program("systemd-analyze", "systemd-analyze")
    command = [program, "--no-pager", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copy the units, with a program that exists and an instance of the template."""
    folder = tmp_path / "units"
    folder.mkdir()
    for source in UNITS.iterdir():
        name = source.name.replace("@.", "@1.")
        text = (
            source.read_text().replace(PROGRAM_OF_THE_UNITS, TRUE).replace("/usr/sbin/nginx", TRUE)
        )
        (folder / name).write_text(text)
    return folder


def test_units_are_valid(units: Path) -> None:
    files = sorted(str(path) for path in units.iterdir())
    assert len(files) == len(list(UNITS.iterdir()))
    analyze("verify", "--recursive-errors=no", *files)


@pytest.mark.parametrize("service", SERVICES)
def test_units_are_hardened(units: Path, service: str) -> None:
    path = units / service.replace("@.", "@1.")
    report = analyze("security", "--offline=true", str(path))
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+) ", report)
    assert float(level) < MAX_EXPOSURE


@pytest.mark.parametrize("service", SERVICES)
def test_units_wait_for_the_graceful_stop(service: str) -> None:
    unit = read_unit(service)
    assert int(unit["TimeoutStopSec"][0]) >= Settings().backend_timeout + 15
    assert unit["StateDirectory"] == ["vmapi"]


@pytest.mark.disruption
def test_reloads_and_restarts_lose_no_request(
    tmp_path: Path, installed_program: Path, servers: list[ServerProcess]
) -> None:
    service = UnitProcess(tmp_path, "vmapi.service", installed_program, **UNLIMITED)
    servers.append(service)
    service.start().wait_for("/readyz")
    with RequestLoad(service.call) as load:
        load.wait_for_responses()
        (before,) = service.child_pids()
        service.reload()
        wait_until("another worker", lambda: before not in service.child_pids())
        load.wait_for_responses()
        for _ in range(2):
            service.restart()
            load.wait_for_responses()
    assert set(load.outcomes) == {201}


def test_serves_a_socket_that_systemd_activates(
    tmp_path: Path, installed_program: Path, servers: list[ServerProcess]
) -> None:
    program = require_program("systemd-socket-activate", "systemd-analyze")
    server = InstalledServer(tmp_path, installed_program)
    servers.append(server)
    passed = [f"--setenv={name}" for name in ("PATH", "VMAPI_BIND")]
    # the address of the socket takes precedence
    env = build_installed_environment(VMAPI_BIND="127.0.0.1:1", PATH=os.environ["PATH"])
    listen = f"--listen=127.0.0.1:{server.port}"
    server.spawn(program, listen, *passed, str(installed_program), "serve", env=env)
    server.wait_for("/readyz")
    assert f"Listening at: http://127.0.0.1:{server.port}" in server.read_log()
