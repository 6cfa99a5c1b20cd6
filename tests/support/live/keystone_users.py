"""Keystone projects and users that the cloud's admin creates for a test."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import openstack

from tests.support.live.api_response import ApiResponse
from tests.support.live.api_script import RUN_LABEL, ApiScript, wait_for
from tests.support.live.transports import SendRequest

SUBNET_CIDR = "10.77.0.0/24"


@dataclass(frozen=True)
class KeystoneUser:
    """A user in a project, the SDK as that user, and a token of that project."""

    id: str
    name: str
    project: str
    sdk: Any = field(repr=False)
    token: str = field(repr=False)

    def create_script(self, send: SendRequest) -> ApiScript:
        """Return a script that sends the token of this user."""

        def send_as_user(
            method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
        ) -> ApiResponse:
            return send(method, path, body, {**(headers or {}), "X-Auth-Token": self.token})

        return ApiScript(send_as_user, f"{RUN_LABEL}-{self.name}-{uuid4().hex[:4]}")


class KeystoneUsers:
    """Creates and deletes projects and users; `admin` is the SDK as the cloud's admin."""

    def __init__(self, admin: Any) -> None:
        self._admin = admin
        self._created: list[tuple[Any, str]] = []
        self._projects: list[str] = []

    def create_project(self, name: str) -> str:
        """Create a project with a network, and return its id."""
        identity, network = self._admin.identity, self._admin.network
        project = identity.create_project(name=f"{RUN_LABEL}-{name}", domain_id="default")
        self._created.append((identity.delete_project, project.id))
        self._projects.append(project.id)
        net = network.create_network(name="net", project_id=project.id)
        self._created.append((network.delete_network, net.id))
        network.create_subnet(
            network_id=net.id, project_id=project.id, ip_version=4, cidr=SUBNET_CIDR
        )
        return str(project.id)

    def create_user(self, name: str, project: str, role: str) -> KeystoneUser:
        """Create a user with a role in a project; create a missing role."""
        identity, password = self._admin.identity, uuid4().hex
        user_options = {"name": f"{RUN_LABEL}-{name}", "password": password}
        user = identity.create_user(domain_id="default", **user_options)
        self._created.append((identity.delete_user, user.id))
        role_found = identity.find_role(role)
        if role_found is None:
            role_found = identity.create_role(name=role)
            self._created.append((identity.delete_role, role_found.id))
        identity.assign_project_role_to_user(project, user, role_found)
        sdk = openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            region_name=self._admin.config.region_name,
            auth={
                "auth_url": self._admin.config.get_auth_args()["auth_url"],
                "username": user_options["name"],
                "password": password,
                "project_id": project,
                "user_domain_id": "default",
            },
        )
        return KeystoneUser(user.id, name, project, sdk, sdk.session.get_token())

    def disable(self, user: KeystoneUser) -> None:
        """Disable a user, which revokes all tokens of the user."""
        self._admin.identity.update_user(user.id, is_enabled=False)

    def list_servers(self) -> list[Any]:
        """List the servers of these projects in Nova."""
        page = self._admin.compute.get("/servers/detail?all_tenants=1&limit=1000").json()
        return [server for server in page["servers"] if server["tenant_id"] in self._projects]

    def delete_all(self) -> None:
        """Delete the servers, security groups, users and projects."""
        for server in self.list_servers():
            self._admin.compute.delete_server(server["id"])
        wait_for(lambda: not self.list_servers())
        for project in self._projects:
            for group in list(self._admin.network.security_groups(project_id=project)):
                self._created.append((self._admin.network.delete_security_group, group.id))
        for remove, id in reversed(self._created):
            remove(id)


@contextmanager
def keystone_users(admin: Any) -> Iterator[KeystoneUsers]:
    """Yield a factory of projects and users; delete them after the `with` block."""
    users = KeystoneUsers(admin)
    try:
        yield users
    finally:
        users.delete_all()
