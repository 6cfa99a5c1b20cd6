"""Nova's servers as raw JSON: a method for each call that reads."""

import re
from collections.abc import Mapping
from typing import TypeVar

from vmapi.backends.openstack.errors import parsing
from vmapi.backends.openstack.pagination import list_all
from vmapi.backends.openstack.session import CloudSession, Json
from vmapi.backends.openstack.visibility import TenantVisibility
from vmapi.errors import Forbidden, VMNotFound

SERVER_ID_PATTERN = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
T = TypeVar("T")

DELETED_STATUSES = ("DELETED", "SOFT_DELETED")


class ServerQueries:
    """Every method that takes an id raises VMNotFound, also where no server can have that id."""

    def __init__(self, session: CloudSession, visibility: TenantVisibility) -> None:
        self._session = session
        self._visibility = visibility

    def get_server(self, vm_id: str) -> Json:
        """Return a server that is not deleted, of our project unless all are within reach."""
        try:
            server = self._read(server_path(vm_id), "server", dict)
        except Forbidden as closed:
            # so Nova answers for a server of another project, unless the account is an admin's
            raise VMNotFound("The cloud shows vmapi no VM of this id.", hidden=True) from closed
        ours = self._visibility.all_projects or server.get("tenant_id") in (
            None,
            self._session.project_id,
        )
        if not ours:
            raise VMNotFound("The cloud shows vmapi no VM of this id.", hidden=True)
        if server.get("status") in DELETED_STATUSES:
            raise VMNotFound("The VM has been deleted.")
        return server

    def list_servers(self, filters: Mapping[str, str], *, deleted: bool = False) -> list[Json]:
        """Return every server that passes Nova's filters, deleted ones only where asked for."""

        def ask(which: Mapping[str, str]) -> list[Json]:
            asked = {**filters, **which}
            return list_all(self._session, "compute", "/servers/detail", "servers", asked)

        found = self._visibility.query(ask)
        return [
            server for server in found if deleted or server.get("status") not in DELETED_STATUSES
        ]

    def get_console_output(self, vm_id: str, lines: int | None) -> str:
        """Return the last lines of the console, or all."""
        asked = {"os-getConsoleOutput": {} if lines is None else {"length": lines}}
        answer = self._session.read_by_post(server_path(vm_id, "action"), asked)
        return str(answer.get("output") or "")

    def get_instance_action(self, vm_id: str, request_id: str) -> Json:
        """Return Nova's record of one request; a moment after the request it is not there yet."""
        where = server_path(vm_id, f"os-instance-actions/{request_id}")
        return self._read(where, "instanceAction", dict)

    def list_instance_actions(self, vm_id: str) -> list[Json]:
        """Return Nova's record of all that was asked of a server, without the events."""
        return self._read(server_path(vm_id, "os-instance-actions"), "instanceActions", list)

    def _read(self, where: str, key: str, kind: type[T]) -> T:
        answer = self._session.read("compute", where)
        with parsing("compute"):
            value = answer[key]
            if isinstance(value, kind):
                return value
            raise TypeError(key)


def server_path(vm_id: str, below: str = "") -> str:
    """Return where a server is, or what is below it. Raises VMNotFound for what is no id."""
    if not SERVER_ID_PATTERN.fullmatch(vm_id):
        raise VMNotFound("The cloud has no VM of this id.")
    return f"/servers/{vm_id}/{below}".rstrip("/")
