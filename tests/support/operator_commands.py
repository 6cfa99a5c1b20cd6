"""Commands as an operator runs them in a checkout: `python -m vmapi COMMAND`."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.environment import build_environment
from tests.support.fork_server import run_forked
from tests.support.http_client import WAIT_SECONDS


class OperatorShell:
    """Runs commands in a folder, with the settings of a server."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.settings = settings

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever its exit status."""
        env = build_environment(**self.settings)
        return run_forked("vmapi", *args, cwd=self.directory, env=env, timeout=WAIT_SECONDS)

    def get_output(self, *args: str) -> str:
        """Return the stdout of a command that succeeds."""
        result = self.run(*args)
        assert result.returncode == 0, f"{args}: {result.stderr}"
        return result.stdout

    def get_document(self, *args: str) -> Any:
        """Return the JSON document of a command that succeeds."""
        return json.loads(self.get_output(*args, "--json"))
