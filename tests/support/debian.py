"""A Debian 12 in a folder, and programs that run in it with systemd-nspawn (root only)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.installed import SOURCES, run_quietly
from tests.support.processes import ROOT, ServerProcess, require_program

MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    *("python3", "python3-venv", "ca-certificates", "systemd", "systemd-sysv", "dbus"),
    *("nginx-light", "curl", "jq"),
)
BOOT_SECONDS = 240.0
CHECKOUT = "usr/local/src/vmapi"
WHEELS = "opt/wheels"
UNIT_FOLDER = "/etc/systemd/system"
SCRIPT_UNIT = """\
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash -eux /opt/run/script >/opt/run/output 2>&1; \\
  echo exit $$? >>/opt/run/output; systemctl poweroff --no-block'
"""


def require_root(name: str) -> None:
    """Skip a test without root; fail where TEST_REQUIRE has the name."""
    if os.geteuid() != 0:
        required = name in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"{name} needs root")


def create_debian(folder: Path) -> Path:
    """Install a Debian with Python, systemd and nginx into a folder, and wheels for vmapi."""
    require_root("debootstrap")
    program = require_program("debootstrap", "debootstrap")
    root = folder / "debian"
    run_quietly(program, "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm",
                str(root), MIRROR)  # fmt: skip
    # the machines have no network: pip installs the wheels that the locked requirements name
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:")
    requirements = ("-r", str(ROOT / "requirements.txt"), "setuptools")
    run_quietly(*pip, "--dest", str(root / WHEELS), *requirements)
    (root / "etc/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = /{WHEELS}\n")
    return root


def copy_checkout(folder: Path) -> None:
    """Copy the files of the repository that an installation needs."""
    folder.mkdir()
    for name in (*SOURCES, "requirements.txt", "config", "deploy"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder)


def nspawn(*options: str) -> list[str]:
    """Return a command of systemd-nspawn that works without a service manager around it."""
    program = require_program("systemd-nspawn", "systemd-nspawn")
    return [program, "--quiet", "--register=no", "--keep-unit", *options]


def boot_and_run(root: Path, folder: Path, script: str) -> str:
    """Boot a Debian with a checkout, run a script in bash, return its output and exit code.

    All changes of the Debian are in memory. `folder` is for the files of this run.
    """
    copy_checkout(folder / "checkout")
    (folder / "run").mkdir()
    (folder / "run/script").write_text(script)
    (folder / "script.service").write_text(SCRIPT_UNIT)
    (folder / "wants.conf").write_text("[Unit]\nWants=script.service\n")
    command = nspawn(
        *("--boot", "--private-network", "--volatile=overlay", f"--directory={root}"),
        f"--bind={folder / 'checkout'}:/{CHECKOUT}",
        f"--bind={folder / 'run'}:/opt/run",
        f"--bind-ro={folder / 'script.service'}:{UNIT_FOLDER}/script.service",
        f"--bind-ro={folder / 'wants.conf'}:{UNIT_FOLDER}/multi-user.target.d/wants.conf",
    )
    subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=BOOT_SECONDS,
    )
    return (folder / "run/output").read_text()


class Container(ServerProcess):
    """A program of an image: another user, a read-only root, no capabilities."""

    def __init__(self, directory: Path, root: str, user: str, env: Mapping[str, str]) -> None:
        super().__init__(directory, "container")
        self.state = directory / "state"
        self.state.mkdir()
        uid, group = map(int, user.split(":"))
        os.chown(self.state, uid, group)
        own = {**env, "VMAPI_BIND": f"127.0.0.1:{self.port}"}
        self._variables = [f"{name}={value}" for name, value in own.items()]
        self._command = nspawn(
            "--pipe",
            *("-D", root, "--read-only", "--user=vmapi", "--chdir=/var/lib/vmapi"),
            *("--no-new-privileges=yes", "--drop-capability=all", "--kill-signal=SIGTERM"),
            f"--bind={self.state}:/var/lib/vmapi",
            *(f"--setenv={variable}" for variable in self._variables),
        )

    def start(self, *command: str) -> "Container":
        """Start the program without waiting."""
        self.spawn(*self._command, *command)
        return self

    def run(self, *command: str) -> str:
        """Run a program to its end, and return its output."""
        ran = subprocess.run(
            [*self._command, *command],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return ran.stdout

    def enter(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program as root in the running container."""
        (pid,) = self.child_pids()
        namespaces = ("nsenter", f"--target={pid}", "--mount", "--pid")
        entered = (*namespaces, "env", *self._variables, *command)
        return subprocess.run(entered, capture_output=True, text=True, check=False, timeout=60)
