"""A vmapi in Keystone mode with users of two projects, and calls of these users."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support.live.api_response import ApiResponse
from tests.support.live.api_script import RUN_LABEL, ApiScript
from tests.support.live.gunicorn_server import GunicornServer, serve_gunicorn
from tests.support.live.keystone_users import KeystoneUser, KeystoneUsers, keystone_users
from tests.support.processes import ROOT

ROLES = "reader=viewer,member=operator,vmapi-chief=admin"


@dataclass
class KeystoneCloud:
    """A vmapi in Keystone mode with users of two projects.

    alice, carol and dora are in one project, bob is in another. carol is a reader. dora is an admin
    of vmapi, and has no role in Nova outside her project.
    """

    server: GunicornServer
    settings: dict[str, str]
    users: KeystoneUsers
    admin: Any
    alice: KeystoneUser
    bob: KeystoneUser
    carol: KeystoneUser
    dora: KeystoneUser

    @property
    def account(self) -> str:
        """The name in clouds.yaml of the service account, an admin."""
        return self.settings["OS_CLOUD"]

    @property
    def member(self) -> str:
        """The name in clouds.yaml of an account that is a member of one project."""
        return self.account.removesuffix("-admin")

    def actions(self, vm_id: str) -> list[tuple[str, str]]:
        """Return the instance actions of a server with their user ids, oldest first."""
        response = self.admin.compute.get(f"/servers/{vm_id}/os-instance-actions")
        records = response.json()["instanceActions"]
        return [(record["action"], record["user_id"]) for record in reversed(records)]

    def server_of(self, vm_id: str) -> Any:
        """Return a server from Nova."""
        return self.admin.compute.get(f"/servers/{vm_id}").json()["server"]


@contextmanager
def serve_keystone_cloud(devcloud: str, admin: Any, folder: Path) -> Iterator[KeystoneCloud]:
    """Create users of two projects, and serve a vmapi that accepts their tokens."""
    settings = {
        "OS_CLOUD": f"{devcloud}-admin",
        "VMAPI_AUTH": "token,keystone",
        "VMAPI_KEYSTONE_URL": admin.config.get_auth_args()["auth_url"],
        "VMAPI_KEYSTONE_ROLES": ROLES,
        "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
        "LOG_LEVEL": "DEBUG",
    }
    with keystone_users(admin) as users, serve_gunicorn(folder, **settings) as server:
        project_a, project_b = users.create_project("a"), users.create_project("b")
        yield KeystoneCloud(
            server,
            settings,
            users,
            admin,
            users.create_user("alice", project_a, "member"),
            users.create_user("bob", project_b, "member"),
            users.create_user("carol", project_a, "reader"),
            users.create_user("dora", project_a, "vmapi-chief"),
        )


def check_tokens_are_stored_nowhere(cloud: KeystoneCloud, folder: Path) -> None:
    """Check that the log and the database name the callers, and contain no token."""
    stored_bytes = cloud.server.log.read_bytes()
    stored_bytes += b"".join(path.read_bytes() for path in folder.glob("vmapi.sqlite3*"))
    assert b"keystone:" in stored_bytes
    for user in (cloud.alice, cloud.bob, cloud.carol, cloud.dora):
        assert user.token.encode() not in stored_bytes


def create_in_nova(user: KeystoneUser, name: str) -> str:
    """Create a server through Nova as a user, and return its id."""
    sdk = user.sdk
    server = sdk.compute.create_server(
        name=name,
        image_id=next(iter(sdk.image.images(status="active"))).id,
        flavor_id=next(iter(sdk.compute.flavors())).id,
        networks=[{"uuid": next(iter(sdk.network.networks())).id}],
    )
    sdk.compute.wait_for_server(server)
    return str(server.id)


def list_vms_named(script: ApiScript, name: str) -> list[str]:
    """Return the ids of the VMs with a name that a script sees."""
    page = script.get(f"/vms?name={name}")
    assert page["total"] == len(page["items"])
    return [vm["id"] for vm in page["items"]]


def finished_operation(script: ApiScript, operation_id: str) -> Any:
    """Return an operation if it has finished, else None."""
    operation = script.get(f"/operations/{operation_id}")
    return operation if operation["finished_at"] else None


def read_events(cloud: KeystoneCloud, user: KeystoneUser, vm_id: str) -> list[Any]:
    """Return the events of a user, from the oldest one to the success of an operation."""
    messages: list[Any] = []
    headers = {"X-Auth-Token": user.token, "Last-Event-ID": "1"}
    url = f"{cloud.server.url}/api/v1/events"
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        assert response.status_code == 200, response.text
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                messages.append(json.loads(line.removeprefix(b"data: ")))
            if messages and (messages[-1]["vm_id"], messages[-1]["kind"]) == (
                vm_id,
                "operation.succeeded",
            ):
                return messages
    raise AssertionError(f"no event of {vm_id}")


def script_with_api_token(cloud: KeystoneCloud, project: str) -> ApiScript:
    """Return a script with an API token of a project."""
    options = ("--subject", "ci", "--role", "operator", "--project", project)
    token = run_command(cloud, "token", "create", *options).strip()

    def send(
        method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> ApiResponse:
        bearer = {"Authorization": f"Bearer {token}"}
        return cloud.server.send(method, path, body, {**(headers or {}), **bearer})

    return ApiScript(send, f"{RUN_LABEL}-token")


def run_command(cloud: KeystoneCloud, *command: str, **settings: str) -> str:
    """Run a flask command, and return its output."""
    environ = {**os.environ, "VMAPI_BACKEND": "openstack", **cloud.settings, **settings}
    result = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *command],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return result.stdout
