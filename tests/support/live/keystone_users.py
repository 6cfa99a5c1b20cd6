"""Projects of Keystone's and users in them, made for a test by the cloud's admin."""

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
        """Return a script that comes with this token."""

        def as_person(
            method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
        ) -> ApiResponse:
            return send(method, path, body, {**(headers or {}), "X-Auth-Token": self.token})

        return ApiScript(as_person, f"{RUN_LABEL}-{self.name}-{uuid4().hex[:4]}")


class KeystoneUsers:
    """Makes them; `admin` is the SDK as the cloud's admin."""

    def __init__(self, admin: Any) -> None:
        self._admin = admin
        self._made: list[tuple[Any, str]] = []
        self._projects: list[str] = []

    def create_project(self, name: str) -> str:
        """Make a project that has a network, and return its id."""
        identity, network = self._admin.identity, self._admin.network
        project = identity.create_project(name=f"{RUN_LABEL}-{name}", domain_id="default")
        self._made.append((identity.delete_project, project.id))
        self._projects.append(project.id)
        net = network.create_network(name="net", project_id=project.id)
        self._made.append((network.delete_network, net.id))
        network.create_subnet(
            network_id=net.id, project_id=project.id, ip_version=4, cidr=SUBNET_CIDR
        )
        return str(project.id)

    def create_user(self, name: str, project: str, role: str) -> KeystoneUser:
        """Make a user who has a role in a project; a role that is not there is made."""
        identity, password = self._admin.identity, uuid4().hex
        called = {"name": f"{RUN_LABEL}-{name}", "password": password}
        user = identity.create_user(domain_id="default", **called)
        self._made.append((identity.delete_user, user.id))
        found = identity.find_role(role)
        if found is None:
            found = identity.create_role(name=role)
            self._made.append((identity.delete_role, found.id))
        identity.assign_project_role_to_user(project, user, found)
        sdk = openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            region_name=self._admin.config.region_name,
            auth={
                "auth_url": self._admin.config.get_auth_args()["auth_url"],
                "username": called["name"],
                "password": password,
                "project_id": project,
                "user_domain_id": "default",
            },
        )
        return KeystoneUser(user.id, name, project, sdk, sdk.session.get_token())

    def disable(self, person: KeystoneUser) -> None:
        """Take all tokens back that somebody has."""
        self._admin.identity.update_user(person.id, is_enabled=False)

    def list_servers(self) -> list[Any]:
        """Return what Nova has in these projects."""
        found = self._admin.compute.get("/servers/detail?all_tenants=1&limit=1000").json()
        return [each for each in found["servers"] if each["tenant_id"] in self._projects]

    def delete_all(self) -> None:
        """Remove what was made, and what is in these projects."""
        for server in self.list_servers():
            self._admin.compute.delete_server(server["id"])
        wait_for(lambda: not self.list_servers())
        for project in self._projects:
            for group in list(self._admin.network.security_groups(project_id=project)):
                self._made.append((self._admin.network.delete_security_group, group.id))
        for remove, id in reversed(self._made):
            remove(id)


@contextmanager
def keystone_users(admin: Any) -> Iterator[KeystoneUsers]:
    """Have projects and users while the block lasts."""
    made = KeystoneUsers(admin)
    try:
        yield made
    finally:
        made.delete_all()
