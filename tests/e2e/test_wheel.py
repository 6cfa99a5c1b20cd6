"""The wheel: installed alone, it serves, and has all commands."""

import os
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.doc_scripts import api_url, run_session
from tests.support.http_client import wait_until
from tests.support.installed import InstalledServer
from tests.support.processes import ROOT
from vmapi.cli.commands import COMMANDS
from vmapi.store.schema import HEAD_REVISION


def find_tracked_files() -> Iterator[str]:
    listed = subprocess.run(
        ["git", "ls-files", "vmapi"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    yield from (name for name in listed.stdout.splitlines() if (ROOT / name).exists())


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("vmapi-")}
    assert names >= set(find_tracked_files())
    assert {name.split("/")[0] for name in names} == {"vmapi"}


def test_session_of_the_readme_runs_against_the_wheel(
    installed_server: InstalledServer, tmp_path: Path
) -> None:
    installed_server.start().wait_for("/readyz")
    lines = run_session(tmp_path, api_url(installed_server.port)).stdout.splitlines()
    assert lines[-1] == "web-1 is deleted"
    assert installed_server.call("GET", "/docs/assets/swagger-ui-bundle.js").status == 200


def test_wheel_has_the_commands(installed_server: InstalledServer) -> None:
    listed = installed_server.run("--help").stdout.split("Commands:\n")[1].splitlines()
    expected = {"serve", *(str(command.name) for command in COMMANDS)}
    assert {line.split()[0] for line in listed} == expected
    url = f"sqlite:///{installed_server.directory}/vmapi.sqlite3"
    upgraded = installed_server.run("db", "upgrade", VMAPI_DATABASE_URL=url)
    # the warnings of the in-memory cloud are no data
    assert upgraded.stdout == f"the database is at {HEAD_REVISION}\n", upgraded.stderr
    checked = installed_server.run("check", VMAPI_DATABASE_URL=url)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "the cloud answers")
    refused = installed_server.run("check", VMAPI_THREADS="many")
    assert refused.returncode == 3
    assert refused.stderr.startswith("vmapi does not start: VMAPI_THREADS 'many': ")


def test_serve_takes_options_of_gunicorn(installed_server: InstalledServer, tmp_path: Path) -> None:
    config = tmp_path / "operator.py"
    config.write_text("proc_name = 'operator'\nkeepalive = 7\ntimeout = 61\n")
    shown = installed_server.run(
        "serve", "--config", str(config), "--timeout", "62", "--print-config"
    )
    settings = dict(line.split(" = ", 1) for line in shown.stdout.splitlines() if " = " in line)
    settings = {name.strip(): text for name, text in settings.items()}
    assert (settings["keepalive"], settings["timeout"]) == ("7", "62")
    assert settings["worker_class"].endswith("GunicornWorker")


def test_serve_passes_its_address_to_the_settings(installed_server: InstalledServer) -> None:
    refused = installed_server.run("serve", "--bind", "0.0.0.0:0")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("vmapi does not start: VMAPI_AUTH token: tokens are stored")
    unknown = installed_server.run("serve", "--workerz", "2")
    assert unknown.returncode == 2
    assert unknown.stderr.endswith("vmapi serve: error: unrecognized arguments: --workerz 2\n")


def test_serve_reloads(installed_server: InstalledServer) -> None:
    installed_server.start().wait_for("/readyz")
    (before,) = installed_server.child_pids()
    os.kill(installed_server.pid, signal.SIGHUP)

    def is_reloaded() -> bool:
        assert installed_server.call("GET", "/livez").status == 200
        return len(now := installed_server.child_pids()) == 1 and now != [before]

    wait_until("another worker", is_reloaded)
