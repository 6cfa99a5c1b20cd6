"""The recipes in README.md, run as they stand there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.support.http_client import PATIENCE
from tests.support.processes import ROOT, Gunicorn, Nginx, environment, needs

ASK = """
A = "http://127.0.0.1:{port}/api/v1"
made = change("POST", A + "/vms", json=dict(name="web-3", flavor="m1.small", image="cirros"))
url = A + "/vms/" + made.json()["vm_id"]
calls = ("POST", "/start"), ("POST", "/pause"), ("POST", "/stop"), ("POST", "/stop"), ("DELETE", "")
print(made.status_code, *(change(method, url + path).status_code for method, path in calls))
"""
"""What is asked by way of the recipe in Python."""


class Cutting(BaseHTTPRequestHandler):
    """Breaks its first answer off in the middle of the body."""

    BODY = b'{"name": "web-2"}'
    left = 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        self.wfile.write(self.BODY[:5] if self.left else self.BODY)
        type(self).left = 0


def recipe(title: str, language: str) -> str:
    """Return what stands below a title."""
    text = (ROOT / "README.md").read_text().partition(f"## {title}\n")[2]
    found = re.search(rf"```{language}\n(.*?)```", text, re.S)
    assert found is not None
    return found[1]


def test_session_of_the_readme(front: Nginx, tmp_path: Path) -> None:
    ran = session(tmp_path, front.port, "-euc")
    settled = re.findall(r'"status":"([A-Z]+)","task":null', ran)
    assert settled == ["STOPPED", "RUNNING", "PAUSED", "RUNNING", "RUNNING", "STOPPED"]
    # the delete is still under way, or done
    assert ran.endswith(("202\n", "204\n"))


def test_a_failed_build_ends_the_session(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="create=0.2", VMAPI_MEMORY_FAULTS="build_failed=1")
    cloud.start().wait_for("/readyz")
    ran = session(tmp_path, cloud.port, "-uc")
    assert re.findall(r'"status":"([A-Z]+)","task":null', ran) == ["ERROR"] * 6
    assert ran.endswith(("202\n", "204\n"))


def test_a_session_without_a_vm_ends(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    cloud = gunicorn()
    cloud.start().wait_for("/readyz")
    taken = {"name": "web-1", "flavor": "m1.small", "image": "cirros"}
    assert cloud.call("POST", "/api/v1/vms", taken).status == 201
    assert "status" not in session(tmp_path, cloud.port, "-uc", succeeds=False)
    assert cloud.call.get("/api/v1/vms")["total"] == 1


def test_repeating_with_curl(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    needs("curl", "curl")
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="create=1.5", VMAPI_MEMORY_FAULTS="lost_answer=1")
    script = f"A=http://127.0.0.1:{cloud.start().port}/api/v1\n" + recipe("Safe to repeat", "sh")
    # it is begun before anybody listens, so the first try finds nobody
    ran = run(tmp_path, "bash", "-euc", script.replace("wait=30", "wait=1"))
    assert ran.split() == ["201true", "0"]
    made = json.loads((tmp_path / "vm.json").read_text())
    assert (made["name"], made["status"], made["task"]) == ("web-2", "STOPPED", None)
    assert cloud.call("GET", "/api/v1/vms").json["total"] == 1


def test_an_answer_that_is_cut_off_is_none(tmp_path: Path) -> None:
    needs("curl", "curl")
    with HTTPServer(("127.0.0.1", 0), Cutting) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        script = f"A=http://127.0.0.1:{server.server_port}\n" + recipe("Safe to repeat", "sh")
        ran = run(tmp_path, "bash", "-euc", script)
        server.shutdown()
    assert ran.split() == ["201", "0"]
    assert (tmp_path / "vm.json").read_bytes() == Cutting.BODY


def test_repeating_in_python(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    cloud = gunicorn(
        VMAPI_MEMORY_LATENCY="0.1", VMAPI_MEMORY_FAULTS="lost_answer=1,action_failed=2"
    )
    script = recipe("Safe to repeat", "python") + ASK.replace("{port}", str(cloud.start().port))
    # the stop of the create fails, and so does the pause
    assert run(tmp_path, sys.executable, "-c", script).split() == [
        *("502", "409", "502", "200", "409", "204")
    ]


def session(folder: Path, port: int, how: str, *, succeeds: bool = True) -> str:
    """Return what the session prints, in a shell that sleeps less."""
    needs("curl", "curl")
    script = recipe("A session", "sh").replace(":8000", f":{port}")
    patience = folder / "sleep"
    patience.write_text("#!/bin/sh\nexec /bin/sleep 0.05\n")
    patience.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return run(folder, "bash", how, script, succeeds=succeeds, PATH=path)


def run(folder: Path, *command: str, succeeds: bool = True, **settings: str) -> str:
    """Return what a program prints."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=succeeds,
    )
    return ran.stdout
