"""Nova's servers as raw JSON: a method for each call."""

import re
from collections.abc import Mapping
from typing import TypeVar

import requests

from vmapi.backends.base import Receipt
from vmapi.backends.openstack.errors import readable
from vmapi.backends.openstack.listing import everything
from vmapi.backends.openstack.session import Json, Session, content
from vmapi.errors import BackendError, Forbidden, VMNotFound

SERVER_ID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
T = TypeVar("T")

GONE = ("DELETED", "SOFT_DELETED")
REQUEST_IDS = ("X-Openstack-Request-Id", "X-Compute-Request-Id")


class Servers:
    """Every method that takes an id raises VMNotFound, also where no server can have that id."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, vm_id: str) -> Json:
        """Return a server of our project that is not deleted."""
        try:
            server = self._read(_path(vm_id), "server", dict)
        except Forbidden as hidden:
            # so Nova answers for a server of another project, unless the account is an admin's
            raise VMNotFound("The cloud shows vmapi no VM of this id.") from hidden
        if server.get("tenant_id") not in (None, self._session.project):
            raise VMNotFound("The cloud shows vmapi no VM of this id.")
        if server.get("status") in GONE:
            raise VMNotFound("The VM has been deleted.")
        return server

    def find(self, filters: Mapping[str, str], *, deleted: bool = False) -> list[Json]:
        """Return every server that passes Nova's filters, deleted ones only where asked for."""
        found = everything(self._session, "compute", "/servers/detail", "servers", filters)
        return [server for server in found if deleted or server.get("status") not in GONE]

    def create(self, order: Json) -> Receipt:
        """Order a server."""
        answer = self._session.change("POST", "/servers", {"server": order})
        with readable("compute"):
            vm_id = str(content(answer, "compute")["server"]["id"])
        return Receipt(vm_id, _request_id(answer))

    def act(self, vm_id: str, body: Json) -> Receipt:
        """Order an action."""
        return _receipt(vm_id, self._session.change("POST", _path(vm_id, "action"), body))

    def delete(self, vm_id: str) -> Receipt:
        """Order the end of a server."""
        return _receipt(vm_id, self._session.change("DELETE", _path(vm_id)))

    def rename(self, vm_id: str, name: str) -> None:
        """Give a server another name."""
        answer = self._session.change("PUT", _path(vm_id), {"server": {"name": name}})
        content(answer, "compute")

    def replace_metadata(self, vm_id: str, metadata: Json) -> None:
        """Give a server this metadata and no other."""
        body = {"metadata": metadata}
        content(self._session.change("PUT", _path(vm_id, "metadata"), body), "compute")

    def console(self, vm_id: str, lines: int | None) -> str:
        """Return the last lines of the console, or all."""
        asked = {"os-getConsoleOutput": {} if lines is None else {"length": lines}}
        answer = self._session.ask(_path(vm_id, "action"), asked)
        return str(answer.get("output") or "")

    def action(self, vm_id: str, request_id: str) -> Json:
        """Return Nova's record of one request; a moment after the request it is not there yet."""
        path = _path(vm_id, f"os-instance-actions/{request_id}")
        return self._read(path, "instanceAction", dict)

    def actions(self, vm_id: str) -> list[Json]:
        """Return Nova's record of all that was asked of a server, without the events."""
        return self._read(_path(vm_id, "os-instance-actions"), "instanceActions", list)

    def _read(self, path: str, key: str, kind: type[T]) -> T:
        answer = self._session.read("compute", path)
        with readable("compute"):
            value = answer[key]
            if isinstance(value, kind):
                return value
            raise TypeError(key)


def _path(vm_id: str, below: str = "") -> str:
    if not SERVER_ID.fullmatch(vm_id):
        raise VMNotFound("The cloud has no VM of this id.")
    return f"/servers/{vm_id}/{below}".rstrip("/")


def _receipt(vm_id: str, answer: requests.Response) -> Receipt:
    """Return what the outcome is found by. Raises BackendError for what is no answer of Nova's."""
    if request_id := _request_id(answer):
        return Receipt(vm_id, request_id)
    raise BackendError("The cloud's compute service answered without the id of the request.")


def _request_id(answer: requests.Response) -> str:
    given = (answer.headers.get(name) for name in REQUEST_IDS)
    return next((request_id for request_id in given if request_id), "")
