"""vmctl in a pipe with a reader that has ended."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment
from tests.support.vmctl import VMCTL, Vmctl


@pytest.fixture
def lost_pipe() -> Iterator[int]:
    """The end to write to a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_change_has_its_outcome_without_readers(vmctl: Vmctl, lost_pipe: int) -> None:
    name = f"pipe-{uuid.uuid4().hex[:6]}"
    vmctl.succeed("create", name, "--flavor", "m1.tiny", "--image", "cirros", "--start", "--wait")
    environment = build_environment(**vmctl.variables, PYTHONPATH=f"{ROOT}/clients/python")

    def run(*arguments: str, **streams: int) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-c", VMCTL, *arguments)
        return subprocess.run(
            command, env=environment, text=True, timeout=WAIT_SECONDS, check=False, **streams
        )

    for output in ("name", "table"):
        stopped = run(
            "stop", name, f"{name}-none", "--wait", "-o", output, stdout=lost_pipe, stderr=-1
        )
        assert stopped.returncode == 8
        assert f"No VM has the name '{name}-none'." in stopped.stderr
        vmctl.succeed("start", name, "--wait")
    deleted = run("delete", "--name", name, "--yes", "--wait", stdout=-1, stderr=lost_pipe)
    assert deleted.returncode == 0
    assert "DELETED" in deleted.stdout
