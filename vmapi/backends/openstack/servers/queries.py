"""Reads of Nova's servers, as raw JSON.

Nova API "Servers" and "Servers actions". The driver calls the methods and maps their results.
Invariant: no method returns a deleted server unless asked to, nor a server of an invisible project.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from vmapi.backends.openstack.connection.pagination import list_all
from vmapi.backends.openstack.connection.session import CloudSession, Json
from vmapi.backends.openstack.failures.errors import parsing
from vmapi.backends.openstack.members import text_member
from vmapi.backends.openstack.servers.visibility import TenantVisibility
from vmapi.domain.uuids import UUID_REGEX
from vmapi.errors import Forbidden, VMNotFound

SERVER_ID_PATTERN = re.compile(UUID_REGEX, re.IGNORECASE)
T = TypeVar("T")

DELETED_STATUSES = ("DELETED", "SOFT_DELETED")


class ServerQueries:
    """Reads servers with the credentials of vmapi.

    Every method with a `vm_id` raises VMNotFound, for a malformed id too.
    """

    def __init__(self, session: CloudSession, visibility: TenantVisibility) -> None:
        self._session = session
        self._visibility = visibility

    def get_server(self, vm_id: str) -> Json:
        """Return a server.

        Raises VMNotFound if the server is deleted or its project is not visible.
        """
        try:
            server = self._read(server_path(vm_id), "server", dict)
        except Forbidden as error:
            # Nova sends 403 for a server of another project, unless the account is an admin's
            raise _hidden_server() from error
        tenant_id = text_member(server, "tenant_id")
        is_visible = self._visibility.all_projects or (tenant_id in ("", self._session.project_id))
        if not is_visible:
            raise _hidden_server()
        if server.get("status") in DELETED_STATUSES:
            raise VMNotFound("The VM has been deleted.")
        return server

    def list_servers(self, filters: Mapping[str, str], *, deleted: bool = False) -> list[Json]:
        """List the servers that match Nova's filters; `deleted` includes deleted servers."""

        def read_all(scope: Mapping[str, str]) -> list[Json]:
            query = {**filters, **scope}
            return list_all(self._session, "compute", "/servers/detail", "servers", query)

        servers = self._visibility.query(read_all)
        return [
            server for server in servers if deleted or server.get("status") not in DELETED_STATUSES
        ]

    def get_console_output(self, vm_id: str, lines: int | None) -> str:
        """Return the last lines of the console, or all (action `os-getConsoleOutput`)."""
        body = {"os-getConsoleOutput": {} if lines is None else {"length": lines}}
        response = self._session.read_by_post(server_path(vm_id, "action"), body)
        # lone surrogates fit in no response
        return str(response.get("output") or "").encode(errors="replace").decode()

    def get_instance_action(self, vm_id: str, request_id: str) -> Json:
        """Return the record of a request, with its events.

        Nova creates the record up to 0.2 s after its response: until then NovaItemNotFound.
        """
        path = server_path(vm_id, f"os-instance-actions/{request_id}")
        return self._read(path, "instanceAction", dict)

    def list_instance_actions(self, vm_id: str) -> list[Json]:
        """Return the records of all requests for a server, without events."""
        return self._read(server_path(vm_id, "os-instance-actions"), "instanceActions", list)

    def _read(self, path: str, key: str, kind: type[T]) -> T:
        response = self._session.read("compute", path)
        with parsing("compute"):
            value = response[key]
            if isinstance(value, kind):
                return value
            raise TypeError(key)


def server_path(vm_id: str, below: str = "") -> str:
    """Return the path of a server, or of a resource below it.

    Raises VMNotFound for a malformed id, which could lead to another resource.
    """
    if not SERVER_ID_PATTERN.fullmatch(vm_id):
        raise VMNotFound("The cloud has no VM of this id.")
    return f"/servers/{vm_id}/{below}".rstrip("/")


def _hidden_server() -> VMNotFound:
    return VMNotFound("The cloud shows vmapi no VM of this id.", hidden=True)
