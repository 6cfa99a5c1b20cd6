"""The benchmarks run, and every row has a value. Times are not checked: any machine may be busy."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.environments import ensure_twin_environment
from bench.runner import GROUPS
from tests.support.processes import ROOT, require_program
from vmapi.api.middleware import AFTER_REQUEST, BEFORE_REQUEST

pytestmark = pytest.mark.bench

RUN_SECONDS = 840
AIM = r"\| [1-9](?:, stretch)? \| "


def run_module(*arguments: str) -> str:
    """Run a module in a new process, and return its output."""
    command = (sys.executable, "-m", *arguments)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, text=True, **streams) as process:
        try:
            output, _ = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            # it stops its servers
            process.terminate()
            raise
    assert process.returncode == 0, output[-3000:]
    return output


def require_rivals() -> None:
    """Skip without the packages of the rivals, fail where TEST_REQUIRE names wrk."""
    try:
        ensure_twin_environment()
    except subprocess.CalledProcessError as error:
        required = "wrk" in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"the rivals cannot be installed: {error}")


@pytest.mark.parametrize("group", GROUPS)
def test_every_row_has_a_value(group: str, tmp_path: Path) -> None:
    require_program("wrk", "wrk")
    if group == "reads":
        require_rivals()
    report = tmp_path / "report.md"
    output = run_module("bench", group, "--short", "--output", str(report))
    rows = [line.split(" | ") for line in report.read_text().splitlines() if re.match(AIM, line)]
    assert rows, output
    for _, value, result, *_ in rows:
        assert re.match(r"[\d.,]+ ", result + " "), value


@pytest.mark.parametrize("cloud", ["memory", "openstack"])
def test_a_profile_of_the_server_has_the_poller(cloud: str) -> None:
    require_program("wrk", "wrk")
    output = run_module(
        *("bench.profile", "one-vm", "--served", "--cloud", cloud),
        *("--seconds=0.2", "--vms=3", "--lines=500"),
    )
    assert "=== one-vm: " in output
    assert re.search(r"connection_poller\.py:\d+\(", output)


@pytest.mark.parametrize("cloud", ["memory", "openstack"])
def test_a_profile_has_the_share_of_each_hook(cloud: str) -> None:
    paths = ("one-vm", "list-100", "stop")
    output = run_module("bench.profile", *paths, "--cloud", cloud, "--requests=2", "--vms=3")
    for path in paths:
        assert f"=== {path}: " in output
    for hook in (*BEFORE_REQUEST, *AFTER_REQUEST):
        shares = re.findall(rf"^\w+\.{hook.__name__} +\d+\.\d%$", output, re.M)
        assert len(shares) == len(paths), hook


@pytest.mark.skipif(
    "TEST_POSTGRESQL_URL" not in os.environ, reason="TEST_POSTGRESQL_URL names no PostgreSQL"
)
def test_large_installation_has_a_cost_of_each_phase(tmp_path: Path) -> None:
    page = tmp_path / "installation.md"
    output = run_module("bench.installation", "--short", "--output", str(page))
    lines = page.read_text().splitlines()
    for phase in ("idle, a second", "a change, to its end", "a read of one VM"):
        (line,) = [line.split(" | ") for line in lines if line.startswith(f"| {phase} |")]
        number, api_us, worker_us, postgresql_us = (float(x.replace(",", "")) for x in line[1:5])
        assert min(number, api_us, worker_us, postgresql_us) > 0, output
        assert line[8] == "0", "deadlocks"
    assert any(line.startswith("| 2,0") for line in lines), "the VMs in the index"
