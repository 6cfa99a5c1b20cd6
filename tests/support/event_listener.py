"""A listener that runs the example of docs/reference/events.md, and resumes after a kill."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.http_client import wait_until
from tests.support.processes import ROOT, build_environment

EVENTS_PATH = "/api/v1/events"
PAGE = (ROOT / "docs/reference/events.md").read_text()
KEEP = """
import os, sys
for event in events(sys.argv[1], sys.argv[2]):
    # one write: a kill between two would leave a line without its end
    os.write(1, f"{json.dumps(event)}\\n".encode())
"""


def read_example(language: str) -> str:
    """Return the example in a language."""
    match = re.search(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert match is not None
    return match[1]


class ListenerScript:
    """A script that appends each event to a file, which survives the script."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._file.touch()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, port: int) -> None:
        """Listen from the last event in the file."""
        ids = [event["id"] for event in self.received_events() if event["id"]]
        url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
        command = (
            sys.executable,
            "-c",
            read_example("python") + KEEP,
            url,
            ids[-1] if ids else "0",
        )
        with self._file.open("ab") as file:
            self._process = subprocess.Popen(command, stdout=file, env=build_environment())

    def kill(self) -> None:
        """Kill the script."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def received_events(self) -> list[Any]:
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    def wait_for(self, count: int) -> None:
        """Wait until the file has a number of events."""
        wait_until(f"{count} events", lambda: len(self.received_events()) >= count)
