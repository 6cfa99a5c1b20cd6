"""Virtual environments of the benchmarks, in the user's cache folder.

The twin needs packages that vmapi does not have. The memory of a worker is measured with the locked
requirements only: packages for development are loaded by others that find them.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from bench.processes import ROOT

TWIN_REQUIREMENTS = (
    "fastapi==0.165.0",
    "pydantic==2.14.4",
    "uvicorn[standard]==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
)


def ensure_twin_environment() -> Path:
    """Return the folder of the programs of the twin's environment."""
    return ensure_environment(TWIN_REQUIREMENTS, "\n".join(TWIN_REQUIREMENTS))


def ensure_runtime_environment() -> Path:
    """Return the folder of the programs of an environment with the packages of `make run`."""
    requirements = ROOT / "requirements.txt"
    return ensure_environment(("-r", str(requirements)), requirements.read_text())


def ensure_client_environment() -> Path:
    """Return the folder of the programs of an environment with the packages that vmctl needs."""
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    return ensure_environment(requirements, "\n".join(requirements))


def ensure_environment(arguments: Sequence[str], content: str) -> Path:
    """Create an environment if it is missing, and return the folder of its programs.

    `arguments` go to pip, and `content` identifies the packages. Raises CalledProcessError when pip
    cannot install a package.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmapi-bench"
    key = hashlib.sha256(f"{sys.version}\n{content}".encode()).hexdigest()[:12]
    environment = cache / key
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        # several runs may start at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / "complete").exists():
            shutil.rmtree(environment, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            pip = (environment / "bin/pip", "install", "-qq", "--disable-pip-version-check")
            subprocess.run([*pip, *arguments], check=True)
            (environment / "complete").touch()
    return environment / "bin"


def read_twin_versions() -> dict[str, str]:
    """Return the pinned versions by package."""
    pairs = (requirement.split("==") for requirement in TWIN_REQUIREMENTS)
    return {name.partition("[")[0]: version for name, version in pairs}
