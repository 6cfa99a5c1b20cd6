"""The completion of vmctl in bash, zsh and fish: each completes the name of a VM."""

import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import pexpect
import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment, require_program
from tests.support.vmctl import VMCTL, Vmctl

PROMPT = "ready> "
LOAD = {
    "bash": "source _vmctl",
    "zsh": "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D",
}
"""The commands that load the script `_vmctl` in the working directory."""


@pytest.fixture
def name(vmctl: Vmctl) -> str:
    """The name of a VM, which no other begins like."""
    name = f"{uuid.uuid4().hex[:6]}-completed"
    vmctl.succeed("create", name, "--flavor", "m1.tiny", "--image", "cirros", "--wait")
    return name


@pytest.fixture
def environment(vmctl: Vmctl, tmp_path: Path) -> Mapping[str, str]:
    """The variables of a shell that finds vmctl in its path."""
    program = tmp_path / "bin" / "vmctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join((sys.executable, "-c", VMCTL))} "$@"\n')
    program.chmod(0o755)
    variables = build_environment(**vmctl.variables, PYTHONPATH=f"{ROOT}/clients/python")
    path = f"{program.parent}:{variables['PATH']}"
    return {**variables, "PATH": path, "HOME": str(tmp_path), "TERM": "dumb", "PS1": PROMPT}


@pytest.mark.parametrize("shell", LOAD)
def test_tab_completes_the_name_of_a_vm(
    vmctl: Vmctl, name: str, environment: Mapping[str, str], tmp_path: Path, shell: str
) -> None:
    require_program(shell, shell)
    (tmp_path / "_vmctl").write_text(vmctl.succeed("completion", shell).out)
    options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[shell]
    process = pexpect.spawn(
        shell, options, env=environment, cwd=tmp_path, timeout=WAIT_SECONDS, encoding="utf-8"
    )
    process.expect_exact(PROMPT)
    process.sendline(LOAD[shell])
    process.expect_exact(PROMPT)
    process.send(f"vmctl show {name[:8]}\t")
    process.expect_exact(name[8:])
    process.sendline("-o name")
    process.expect_exact(f"\n{name}\r\n")
    process.close(force=True)


def test_fish_completes_the_name_of_a_vm(
    vmctl: Vmctl, name: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    fish = require_program("fish", "fish")
    (tmp_path / "_vmctl").write_text(vmctl.succeed("completion", "fish").out)
    script = f"source _vmctl; complete -C 'vmctl show {name[:8]}'"
    completed = subprocess.run(
        (fish, "--no-config", "-c", script),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_SECONDS,
    )
    assert completed.stdout == f"{name}\tSTOPPED\n"
