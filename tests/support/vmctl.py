"""vmctl in the process of a test, and on a pseudo-terminal."""

import io
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pexpect
import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import build_environment

VMCTL = "from vmapi_client.cli.entry import main; main()"


@dataclass(frozen=True)
class VmctlResult:
    """The end of a command."""

    exit_code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()


class Vmctl:
    """Runs commands with a server and an empty contexts file."""

    def __init__(
        self,
        folder: Path,
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
        url: str | None = None,
    ) -> None:
        self.folder = folder
        self.url = url
        self._patch = patch
        self._capture = capture

    @property
    def variables(self) -> dict[str, str]:
        """The environment of vmctl."""
        server = {} if self.url is None else {"VMAPI_URL": self.url}
        return {"VMAPI_CONTEXTS_FILE": str(self.folder / "contexts.json"), **server}

    def __call__(self, *arguments: str, stdin: str = "") -> VmctlResult:
        """Run a command in this process."""
        from vmapi_client.cli.run import run_program

        with self._patch.context() as patch:
            for name in [name for name in os.environ if name.startswith("VMAPI_")]:
                patch.delenv(name)
            for name, value in self.variables.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["vmctl", *arguments])
            patch.setattr("sys.stdin", io.StringIO(stdin))
            self._capture.readouterr()
            code = run_program()
        out, err = self._capture.readouterr()
        return VmctlResult(code, out, err)

    def succeed(self, *arguments: str, stdin: str = "") -> VmctlResult:
        """Run a command that must succeed."""
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == 0, result
        return result

    def spawn(self, *arguments: str, columns: int = 80, **variables: str) -> "pexpect.spawn[str]":
        """Start a command on a pseudo-terminal."""
        environment = build_environment(TERM="xterm-256color", **self.variables, **variables)
        # rich prefers it to the size of the terminal, and test runners set it
        environment.pop("COLUMNS", None)
        return pexpect.spawn(
            sys.executable,
            ["-c", VMCTL, *arguments],
            env=environment,
            dimensions=(24, columns),
            encoding="utf-8",
            timeout=WAIT_SECONDS,
            # a test process in the background ignores the signal, and children inherit that
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )


def read_terminal(process: "pexpect.spawn[str]") -> tuple[int, list[str]]:
    """Return exit code and lines of a command on a pseudo-terminal."""
    process.expect(pexpect.EOF)
    process.close()
    assert isinstance(process.before, str)
    return process.exitstatus or 0, process.before.splitlines()
