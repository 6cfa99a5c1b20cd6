"""vmapi as an operator installs it: a wheel in a virtual environment, without the repository."""

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, ServerProcess, build_environment

SOURCES = ("vmapi", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")
INSTALL_SECONDS = 900.0


def build_wheel(folder: Path, *options: str) -> Path:
    """Build the wheel from a copy of the sources, without the leftovers of other builds."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *options)
    run_quietly(*pip, "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("vmapi-*.whl")
    return wheel


def create_environment(folder: Path) -> Path:
    """Create a virtual environment with the packages of this one, and return its programs."""
    # pip is one of these packages
    venv.create(folder)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "shared.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "bin"


def run_quietly(*command: str) -> None:
    """Run an installer; its output is in the error of a failure."""
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}{ran.stderr}"


def build_installed_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a process that imports nothing from the repository."""
    return build_environment(**settings) | {"PYTHONPATH": ""}


class InstalledServer(ServerProcess):
    """`vmapi serve` in a separate folder."""

    def __init__(self, directory: Path, program: Path) -> None:
        super().__init__(directory, "vmapi")
        self._program = program

    def start(self, *options: str, **settings: str) -> "InstalledServer":
        """Start without waiting."""
        bind = ("--bind", f"127.0.0.1:{self.port}")
        env = build_installed_environment(**settings)
        self.spawn(str(self._program), "serve", *bind, *options, env=env)
        return self

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run another command in the same folder."""
        return subprocess.run(
            [self._program, *arguments],
            cwd=self.directory,
            env=build_installed_environment(**settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
