"""The virtual environment of the twin: FastAPI and uvicorn are no requirements of vmapi."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = (
    "fastapi==0.165.0",
    "pydantic==2.14.4",
    "uvicorn[standard]==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
)


def ensure_environment() -> Path:
    """Create the environment in the user's cache folder if it is missing; return its programs.

    Raises CalledProcessError when pip cannot install a package.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmapi-bench"
    key = hashlib.sha256("\n".join((sys.version, *REQUIREMENTS)).encode()).hexdigest()[:12]
    environment = cache / key
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        # several runs may start at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / "complete").exists():
            shutil.rmtree(environment, ignore_errors=True)
            create_environment(environment)
            (environment / "complete").touch()
    return environment / "bin"


def create_environment(environment: Path) -> None:
    """Create a virtual environment with the requirements."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = (environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *REQUIREMENTS], check=True)


def read_versions() -> dict[str, str]:
    """Return the pinned versions by package."""
    pairs = (requirement.split("==") for requirement in REQUIREMENTS)
    return {name.partition("[")[0]: version for name, version in pairs}
