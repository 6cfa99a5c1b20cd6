"""The recipes in README.md, run as they stand there."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.caller import PATIENCE
from tests.e2e.processes import ROOT, Gunicorn, Nginx, environment, needs

ASK = """
A = "http://127.0.0.1:{port}/api/v1"
made = change("POST", A + "/vms", json=dict(name="web-3", flavor="m1.small", image="cirros"))
url = A + "/vms/" + made.json()["id"]
calls = ("POST", "/start"), ("POST", "/pause"), ("POST", "/stop"), ("POST", "/stop"), ("DELETE", "")
print(made.status_code, *(change(method, url + path).status_code for method, path in calls))
"""
"""What is asked by way of the recipe in Python."""


def recipe(title: str, language: str) -> str:
    """Return what stands below a title."""
    text = (ROOT / "README.md").read_text().partition(f"## {title}\n")[2]
    found = re.search(rf"```{language}\n(.*?)```", text, re.S)
    assert found is not None
    return found[1]


def test_session_of_the_readme(front: Nginx, tmp_path: Path) -> None:
    needs("curl", "curl")
    script = recipe("A session", "sh")
    script = script.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{front.port}")
    patience = tmp_path / "sleep"
    patience.write_text("#!/bin/sh\nexec /bin/sleep 0.05\n")
    patience.chmod(0o755)
    env = environment()
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    ran = subprocess.run(
        ["bash", "-euc", script],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    settled = re.findall(r'"status":"([A-Z]+)","task":null', ran.stdout)
    assert settled == ["STOPPED", "RUNNING", "PAUSED", "RUNNING", "RUNNING", "STOPPED"]
    # the delete is still under way, or done
    assert ran.stdout.endswith(("202\n", "204\n"))


def test_repeating_with_curl(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    needs("curl", "curl")
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="create=1.5", VMAPI_MEMORY_FAULTS="lost_answer=1")
    script = f"A=http://127.0.0.1:{cloud.start().port}/api/v1\n" + recipe("Safe to repeat", "sh")
    # it is begun before anybody listens, so the first try finds nobody
    ran = run(tmp_path, "bash", "-euc", script.replace("wait=30", "wait=1"))
    assert ran.split() == ["201true"]
    made = json.loads((tmp_path / "vm.json").read_text())
    assert (made["name"], made["status"], made["task"]) == ("web-2", "STOPPED", None)
    assert cloud.call("GET", "/api/v1/vms").json["total"] == 1


def test_repeating_in_python(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    cloud = gunicorn(
        VMAPI_MEMORY_LATENCY="0.1", VMAPI_MEMORY_FAULTS="lost_answer=1,action_failed=2"
    )
    script = recipe("Safe to repeat", "python") + ASK.replace("{port}", str(cloud.start().port))
    # the stop of the create fails, and so does the pause, which is told
    assert run(tmp_path, sys.executable, "-c", script).split() == [
        *("201", "409", "502", "200", "409", "204")
    ]


def run(folder: Path, *command: str) -> str:
    """Return what a program prints that succeeds."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return ran.stdout
