"""Back up a server under load, lose its database, restore it: keys and the audit chain hold."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.support.audit_chain import AUDIT_KEY
from tests.support.databases import new_postgresql
from tests.support.http_client import wait_until
from tests.support.operator_commands import OperatorShell
from tests.support.processes import Gunicorn, require_program

pytestmark = pytest.mark.disruption

CREATE = {"name": "web-1", "flavor": "m1.small", "image": "ubuntu-22.04"}
SETTINGS = {
    "VMAPI_AUDIT_KEY": AUDIT_KEY,
    # the load creates as many as the machine lets it
    "VMAPI_MEMORY_LIMITS": "vms=100000,vcpus=1000000,ram_mb=100000000",
}


def create(server: Gunicorn, number: int) -> Any:
    body = {**CREATE, "name": f"web-{number}"}
    headers = {"Idempotency-Key": f"key-{number}", "Prefer": "wait=10"}
    return server.call("POST", "/api/v1/vms", body, headers=headers)


def verify(shell: OperatorShell, *args: str) -> list[str]:
    return shell.get_output("audit", "verify", *args).splitlines()


def wait_for_chain(shell: OperatorShell) -> str:
    """Wait until all entries are in the hash chain, and return its anchor."""
    wait_until("chained", lambda: verify(shell)[0].endswith(" 0 open"))
    return verify(shell)[1].removeprefix("anchor ")


class Load:
    """Creates VMs one after the other until the block ends."""

    def __init__(self, server: Gunicorn) -> None:
        self.server = server
        self.created = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            status = create(self.server, self.created + 1).status
            # 429: beyond the rate of changes
            assert status in (201, 429)
            self.created += status == 201


def check_restored(
    gunicorn: Callable[..., Gunicorn], shell: OperatorShell, anchor: str, repeated: int
) -> None:
    """Serve the restored database; a repeat creates nothing, and the chain continues."""
    assert "the schema" not in shell.run("db", "check").stderr
    assert verify(shell, "--anchor", anchor)[0].endswith(" open")
    restored = gunicorn(**shell.settings).start()
    restored.wait_for("/readyz")
    replay = create(restored, repeated)
    assert replay.headers["Idempotent-Replayed"] == "true"
    created = create(restored, 1_000_000)
    assert created.status == 201
    # the repeat has no entry in the trail
    trail = shell.get_output("audit", "export")
    assert replay.headers["X-Request-ID"] not in trail
    assert created.headers["X-Request-ID"] in trail
    wait_for_chain(shell)
    verify(shell, "--anchor", anchor)


def test_sqlite_is_restored_from_a_copy_under_load(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    path, copy = tmp_path / "vmapi.sqlite3", tmp_path / "copy.sqlite3"
    settings = SETTINGS | {"VMAPI_DATABASE_URL": f"sqlite:///{path}"}
    shell = OperatorShell(tmp_path, **settings)
    server = gunicorn(**settings).start()
    server.wait_for("/readyz")
    assert create(server, 0).status == 201
    anchor = wait_for_chain(shell)
    with Load(server) as load:
        wait_until("load", lambda: load.created >= 10)
        before = load.created
        assert shell.get_document("db", "backup", str(copy))["file"] == str(copy)
        wait_until("more load", lambda: load.created >= before + 10)
    server.kill()
    for file in tmp_path.glob("vmapi.sqlite3*"):
        file.unlink()
    copy.rename(path)
    check_restored(gunicorn, shell, anchor, repeated=before)


def test_postgresql_is_restored_with_the_printed_command(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    require_program("pg_dump", "postgresql")
    with new_postgresql() as url, new_postgresql() as empty_url:
        settings = SETTINGS | {"VMAPI_DATABASE_URL": url}
        shell = OperatorShell(tmp_path, **settings)
        shell.get_output("db", "upgrade")
        server = gunicorn(**settings).start()
        server.wait_for("/readyz")
        assert create(server, 0).status == 201
        anchor = wait_for_chain(shell)
        with Load(server) as load:
            wait_until("load", lambda: load.created >= 10)
            before = load.created
            printed = shell.run("db", "backup", str(tmp_path / "dump"))
            assert printed.returncode == 1
            subprocess.run(["sh", "-c", printed.stdout], check=True, timeout=60)
        server.kill()
        address = make_url(empty_url).set(drivername="postgresql").render_as_string()
        restore = ("pg_restore", "--no-owner", f"--dbname={address}", str(tmp_path / "dump"))
        subprocess.run(restore, check=True, timeout=60)
        restored = OperatorShell(tmp_path, **settings | {"VMAPI_DATABASE_URL": empty_url})
        check_restored(gunicorn, restored, anchor, repeated=before)
