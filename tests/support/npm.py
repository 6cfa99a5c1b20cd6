"""Packages from npm for tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import require_program

INSTALL_SECONDS = 300


def install_npm_packages(source: Path, folder: Path) -> Path:
    """Copy a folder and install its lock file; skip the test if npm cannot download it."""
    require_program("node", "node")
    npm = require_program("npm", "node")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    run_installer(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder)
    return folder


def run_installer(*command: str, folder: Path) -> None:
    """Run an installer; skip the test if it fails, or fail where TEST_REQUIRE names node."""
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if result.returncode != 0:
        required = "node" in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"{command[0]}: {result.stderr[-500:]}")
