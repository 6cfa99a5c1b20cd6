"""Run the code blocks of the documentation, in the order of each page.

An HTML comment directly above a block says how it is used:

- `<!-- server -->` starts vmapi with the settings in front of `make run`
- `<!-- file: NAME -->` is a file that the following blocks use
- `<!-- output -->` is the output of the block before; `…` stands for anything
- `<!-- fails -->` marks a command that ends with an error
- `<!-- not run: REASON -->` marks a block that cannot run here

Blocks in `sh`, `bash` and `python` without a comment are run. Blocks in `dotenv` are settings.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.documentation import (
    PAGES,
    code_blocks,
    page_name,
    write_short_sleep,
)
from tests.support.processes import Gunicorn, build_environment, require_program
from tests.support.vmctl import VMCTL

BLOCK_TIMEOUT = 150.0
"""Seconds for a block: one replaces ten VMs by twenty commands, also on a loaded machine."""


class Reader:
    """Follows a page in a folder; shell variables last from block to block."""

    def __init__(self, folder: Path, gunicorn: Callable[..., Gunicorn]) -> None:
        self._folder = folder
        self._gunicorn = gunicorn
        self._server: Gunicorn | None = None
        self._port: int | None = None
        self._output = ""
        (folder / "bin").mkdir()
        write_short_sleep(folder / "bin")
        (folder / ".venv").mkdir()
        (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
        # a link would start the interpreter without the packages of the environment
        self._write_program("python3", '"$@"')
        self._write_program("vmapi", '-m vmapi "$@"')
        self._write_program("vmctl", f'-c "{VMCTL}" "$@"')

    def _write_program(self, name: str, arguments: str) -> None:
        program = self._folder / "bin" / name
        program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}\n")
        program.chmod(0o755)

    def start(self, command: str) -> None:
        """Start vmapi with the settings that a command sets."""
        *settings, make, target = shlex.split(self._here(command))
        assert (make, target) == ("make", "run"), command
        if self._server is not None:
            self._server.stop()
        self._server = self._gunicorn(**dict(pair.split("=", 1) for pair in settings))
        self._server.start().wait_for("/readyz")
        self._port = self._server.port

    def use(self, server: Gunicorn) -> None:
        """Talk to a server that runs already."""
        self._port = server.port

    def run(self, script: str, *, fails: bool) -> None:
        """Run a script after those before it."""
        state = self._folder / "state"
        before = f". {state} 2>/dev/null || true\n" if state.exists() else ""
        after = f"\n{{ export -p; declare -f; }} >{state}"
        result = subprocess.run(
            ["bash", "-euac", f"{before}{self._here(script)}{after}"],
            cwd=self._folder,
            env={**build_environment(), "PATH": f"{self._folder}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=BLOCK_TIMEOUT,
            check=False,
        )
        assert (result.returncode != 0) == fails, f"{script}\n{result.stdout}\n{result.stderr}"
        self._output = result.stdout

    def write(self, file: str, text: str) -> None:
        (self._folder / file).write_text(self._here(text))

    def compare(self, expected: str) -> None:
        """Compare the last output; `…` stands for anything."""
        pattern = ".*".join(map(re.escape, expected.strip().split("…")))
        assert re.fullmatch(pattern, self._output.strip(), re.S), (expected, self._output)

    def _here(self, text: str) -> str:
        """Put this test's port and folders in the place of those on the page."""
        if self._port is not None:
            text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self._port}")
        return text.replace("/var/lib/vmapi", str(self._folder))


@pytest.fixture
def reader(tmp_path: Path, gunicorn: Callable[..., Gunicorn]) -> Reader:
    require_program("curl", "curl")
    require_program("jq", "jq")
    return Reader(tmp_path, gunicorn)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.is_run for b in code_blocks(page))], ids=page_name
)
def test_commands_of_a_page_work(page: Path, reader: Reader, cloud: Gunicorn) -> None:
    reader.use(cloud)
    for block in code_blocks(page):
        if block.mark == "server":
            reader.start(block.text.strip())
        elif block.file:
            reader.write(block.file, block.text)
        elif block.mark == "output":
            reader.compare(block.text)
        elif block.is_run and block.language == "python":
            reader.run(f"python3 -c {shlex.quote(block.text)}", fails=block.mark == "fails")
        elif block.is_run:
            reader.run(block.text, fails=block.mark == "fails")
