"""A deployment of vmapi: gunicorn and worker processes that a test can kill."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from tests.support.http_client import HttpClient
from tests.support.processes import ROOT, free_port

BIN = Path(sys.executable).parent
SERVER_COMMAND = (str(BIN / "gunicorn"), "-c", "config/gunicorn.conf.py", "wsgi:app")
FLASK_COMMAND = (str(BIN / "flask"), "--app", "wsgi")
WORKER_COMMAND = (*FLASK_COMMAND, "worker")
STOP_TIMEOUT = 40
"""Seconds within which all processes stop after SIGTERM."""


class Deployment:
    """The processes of one vmapi: gunicorn with two children, and `workers` worker processes.

    `disruptions` counts the kills and restarts; `worker_exit_codes` are those of workers that were
    not killed.
    """

    def __init__(self, settings: Mapping[str, str], workers: int, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._http = HttpClient(self.port, timeout=2)
        self.log = log
        self.disruptions: Counter[str] = Counter()
        self.worker_exit_codes: list[int] = []
        own = {name: text for name, text in os.environ.items() if not name.startswith("VMAPI_")}
        self._environment = {**own, **settings, "VMAPI_BIND": f"127.0.0.1:{self.port}"}
        self._environment["PYTHONFAULTHANDLER"] = "1"
        for what in ("READS", "CHANGES", "ADDRESS"):
            self._environment[f"VMAPI_RATE_{what}"] = "off"
        self._commands = [SERVER_COMMAND, *(WORKER_COMMAND,) * workers]
        self._out = log.open("ab")
        self._running: list[subprocess.Popen[bytes]] = []
        self._groups: list[int] = []

    def start(self) -> None:
        """Start all processes, and wait until gunicorn responds."""
        self._spawn((*FLASK_COMMAND, "db", "upgrade")).wait()
        self._running = [self._spawn(command) for command in self._commands]
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until all processes run and gunicorn responds."""
        end = time.monotonic() + 180
        self.restart_exited()
        while not self._serves():
            assert time.monotonic() < end, f"vmapi does not serve, see {self.log}"
            time.sleep(0.5)
            self.restart_exited()

    def restart_exited(self) -> None:
        """Restart the exited processes as systemd does: kill their children first."""
        for place, process in enumerate(self._running):
            code = process.poll()
            if code is None:
                continue
            if place > 0 and code != -signal.SIGKILL:
                self.worker_exit_codes.append(code)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._running[place] = self._spawn(self._commands[place])

    def kill_random_process(self) -> None:
        """Send SIGKILL to a random process."""
        server, *workers = (process.pid for process in self._running)
        victim = random.choice([server, *_children(server), *workers])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self.disruptions["SIGKILL"] += 1

    def kill_workers(self) -> None:
        """Send SIGKILL to all workers."""
        for worker in self._running[1:]:
            worker.kill()
            worker.wait()

    def stop_workers(self) -> list[int]:
        """Stop the workers with SIGTERM, and return their exit codes."""
        workers = self._running[1:]
        for worker in workers:
            worker.terminate()
        return [worker.wait(60) for worker in workers]

    def stop(self) -> None:
        """Stop all processes, orphans too."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.disruptions["SIGABRT after SIGTERM"] += 1
                # faulthandler writes the stacks to the log
                process.send_signal(signal.SIGABRT)
        for process in self._running:
            process.wait()
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._out.close()

    def _serves(self) -> bool:
        # the children of a killed gunicorn may respond once more
        if not _children(self._running[0].pid):
            return False
        try:
            return self._http("GET", "/livez").status == 200
        except (OSError, HTTPException):
            return False

    def _spawn(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment,
            stdout=self._out,
            stderr=self._out,
            start_new_session=True,
        )
        self._groups.append(process.pid)
        return process


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(OSError):
        return [int(child) for child in listed.read_text().split()]
    return []
