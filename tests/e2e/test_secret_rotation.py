"""Each secret is rotated under load, without a restart: no request is lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.support.cluster_load import NEW_VM, ClusterClients, check_exactly_once
from tests.support.live.postgresql import PostgresqlServer, find_programs, serve_postgresql
from tests.support.processes import (
    Gunicorn,
    ServerProcess,
    require_installed,
    run_flask,
)
from tests.support.stateful_nova import StatefulNova, run_stateful_nova

pytestmark = pytest.mark.disruption

QUIET_SECONDS = 1.5
"""Seconds of load before and after a rotation."""

OLD, NEW = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)  # pragma: allowlist secret - of no one
"""A secret of each kind, before and after its rotation."""

RATES = {f"VMAPI_RATE_{name}": "100000/second" for name in ("ADDRESS", "CHANGES", "READS")}


class Installation:
    """A server with its secrets in files, a PostgreSQL with passwords, and a cloud."""

    def __init__(
        self,
        directory: Path,
        server: Gunicorn,
        database: PostgresqlServer,
        nova: StatefulNova,
        settings: dict[str, str],
    ) -> None:
        self.directory, self.server, self.settings = directory, server, settings
        self.database, self.nova = database, nova

    def write(self, name: str, *values: str) -> None:
        """Replace a file of a secret as a mounted volume does."""
        new = self.directory / f".{name}"
        new.write_text("\n".join(values))
        new.rename(self.directory / name)

    def write_database_url(self, password: str) -> None:
        port = self.database.port
        self.write("database", f"postgresql+psycopg://vmapi:{password}@127.0.0.1:{port}/postgres")

    def run(self, *arguments: str) -> None:
        run_flask(self.directory, self.settings, *arguments)


def secret_settings(directory: Path, cloud_url: str) -> dict[str, str]:
    return {
        "OPENSTACK_AUTH_URL": f"{cloud_url}/identity/v3",
        "OPENSTACK_USERNAME": "vmapi",
        "OPENSTACK_PASSWORD_FILE": str(directory / "cloud"),
        "OPENSTACK_PROJECT": "vmapi",
        "VMAPI_AUDIT_KEY_FILE": str(directory / "audit"),
        "VMAPI_AUDIT_OLD_KEYS_FILE": str(directory / "audit-old"),
        "VMAPI_AUTH": "none",
        "VMAPI_BACKEND": "openstack",
        "VMAPI_DATABASE_URL_FILE": str(directory / "database"),
        "VMAPI_WORKERS": "1",
        **RATES,
    }


@pytest.fixture
def installation(tmp_path: Path, servers: list[ServerProcess]) -> Iterator[Installation]:
    require_installed("postgresql", is_installed=find_programs() is not None)
    with (
        serve_postgresql() as database,
        run_stateful_nova(loses_responses=False) as (cloud_url, nova),
    ):
        database.set_password(OLD)
        database.require_password()
        nova.password = OLD
        settings = secret_settings(tmp_path, cloud_url)
        server = Gunicorn(tmp_path, **settings)
        servers.append(server)
        installation = Installation(tmp_path, server, database, nova, settings)
        installation.write_database_url(OLD)
        installation.write("cloud", OLD)
        installation.write("audit", OLD)
        installation.write("audit-old", "x" * 32)
        installation.run("db", "upgrade")
        server.start().wait_for("/readyz")
        yield installation
        # no fixture stops the server before its services
        server.stop()


def rotate_database_password(installation: Installation) -> None:
    installation.write_database_url(NEW)
    # the file is ahead of the server: the last password still opens connections
    installation.database.end_connections()
    time.sleep(QUIET_SECONDS)
    installation.database.set_password(NEW)
    installation.database.end_connections()


def rotate_cloud_password(installation: Installation) -> None:
    installation.write("cloud", NEW)
    time.sleep(QUIET_SECONDS)
    installation.nova.password = NEW


def rotate_audit_key(installation: Installation) -> None:
    installation.write("audit-old", OLD, "x" * 32)
    installation.write("audit", NEW)


def rotate_cursor_key(installation: Installation) -> None:
    installation.run("db", "rotate-cursor-key")


@pytest.mark.parametrize(
    "rotate",
    [rotate_database_password, rotate_cloud_password, rotate_audit_key, rotate_cursor_key],
    ids=lambda rotate: rotate.__name__,
)
def test_no_request_is_lost_during_a_rotation(
    installation: Installation, rotate: Callable[[Installation], None]
) -> None:
    clients = ClusterClients(installation.server.port)
    for name in ("first", "second"):
        clients.send("POST", "/vms", {"name": name, **NEW_VM})
    next_page = clients.send("GET", "/vms?page_size=1").json["next"]
    with clients.running() as report:
        time.sleep(QUIET_SECONDS)
        rotate(installation)
        time.sleep(QUIET_SECONDS)
    for vm in clients.send("GET", "/vms").json["items"]:
        clients.send("DELETE", f"/vms/{vm['id']}")
    print(rotate.__name__, dict(report.responses))
    check_exactly_once(installation.nova, report)
    # a cursor of the time before, and the audit trail of both times
    assert installation.server.call("GET", next_page).status == 200
    installation.run("audit", "verify")
    if rotate is rotate_audit_key:
        installation.write("audit", OLD)
        # the entries since the rotation have the new key
        with pytest.raises(CalledProcessError):
            installation.run("audit", "verify")
