"""vmapi as it is served: gunicorn, and workers if there are any; each can be killed at any time."""

import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVER = (str(BIN / "gunicorn"), "-c", "config/gunicorn.conf.py", "wsgi:app")
WORKER = (str(BIN / "flask"), "--app", "wsgi", "worker")


class Fleet:
    """The processes of one vmapi; `workers` beside the two of gunicorn."""

    def __init__(self, port: int, settings: Mapping[str, str], workers: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        own = {name: text for name, text in os.environ.items() if not name.startswith("VMAPI_")}
        self._environment = {**own, **settings, "VMAPI_BIND": f"127.0.0.1:{port}"}
        self._commands = [SERVER, *(WORKER,) * workers]
        self._log = log.open("ab")
        self._running: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    def start(self) -> None:
        """Start everything, and wait until it serves."""
        self._running = [self._spawn(command) for command in self._commands]
        end = time.monotonic() + 30
        while not self.serves():
            assert time.monotonic() < end, f"vmapi does not serve, see {self._log.name}"
            time.sleep(0.2)
        assert self._running[0].poll() is None, "something else serves on this port"

    def stop(self) -> None:
        """Stop everything."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
        self._log.close()

    def serves(self) -> bool:
        """Tell whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/livez", timeout=2):
                return True
        except OSError:
            return False

    def kill_one(self) -> None:
        """Send SIGKILL to any process but gunicorn's master, and bring back what nobody does."""
        server, *workers = self._running
        victims = [*_children(server.pid), *(worker.pid for worker in workers)]
        if victims:
            with suppress(ProcessLookupError):
                os.kill(random.choice(victims), signal.SIGKILL)
                self.killed += 1
        for place, worker in enumerate(workers, start=1):
            if worker.poll() is not None:
                self._running[place] = self._spawn(WORKER)

    def _spawn(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
