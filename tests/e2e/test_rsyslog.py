"""The configuration of rsyslog, with a real rsyslog."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.http_client import wait_until
from tests.support.processes import ROOT, build_environment, require_program

TEXT_LINE = "vmapi does not start: VMAPI_THREADS '0': allowed is a whole number from 2 to 256"
PROCESS = """
import structlog
from vmapi.telemetry.logging import configure

configure("DEBUG", serves=True)
log = structlog.get_logger("vmapi.test")
log.info("request", endpoint="GET /vms", vm_id=None, status=200, duration_ms=1.5)
log.warning("a \\"quoted\\" \\\\ text of\\ntwo lines", reason="\\u2028")
try:
    raise ValueError("first\\nsecond")
except ValueError:
    log.exception("failed")
"""
TEST_INPUT = """
global(workDirectory="{folder}")
module(load="imfile")
input(type="imfile" file="{folder}/lines.log" tag="vmapi:")
"""


def write_lines() -> list[str]:
    command = (sys.executable, "-c", PROCESS)
    ended = subprocess.run(
        command, check=True, capture_output=True, text=True, env=build_environment()
    )
    return ended.stdout.splitlines()


def test_rsyslog_writes_each_line_as_an_object(tmp_path: Path) -> None:
    rsyslogd = require_program("rsyslogd", "rsyslog")
    lines, output = write_lines(), tmp_path / "vmapi.json"
    (tmp_path / "lines.log").write_text("\n".join([*lines, TEXT_LINE, ""]))
    rules = (ROOT / "deploy/logs/rsyslog.conf").read_text()
    assert rules.count("/var/log/vmapi.json") == 1
    config = tmp_path / "rsyslog.conf"
    rules = rules.replace("/var/log/vmapi.json", str(output))
    config.write_text(TEST_INPUT.format(folder=tmp_path) + rules)
    checked = subprocess.run(
        (rsyslogd, "-N1", "-f", str(config)), check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen((rsyslogd, "-n", "-f", config, "-i", tmp_path / "pid"))
    try:
        wait_until("all lines", lambda: output.exists() and TEXT_LINE in output.read_text())
    finally:
        process.terminate()
        process.wait(30)
    *objects, refused = [json.loads(line) for line in output.read_text().rstrip().split("\n")]
    # the name of the test's input file
    for written in (*objects, refused):
        written.pop("metadata")
    assert len(objects) == 3
    assert objects == [json.loads(line) for line in lines]
    assert (refused["message"], refused["level"]) == (TEXT_LINE, "error")
