"""The session in README.md, run as it stands there."""

import re
import subprocess
from pathlib import Path

from tests.e2e.caller import PATIENCE
from tests.e2e.processes import ROOT, Nginx, environment, needs


def test_session_of_the_readme(front: Nginx, tmp_path: Path) -> None:
    needs("curl", "curl")
    found = re.search(r"## A session\n\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert found is not None
    script = found[1].replace("http://127.0.0.1:8000", f"http://127.0.0.1:{front.port}")
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
