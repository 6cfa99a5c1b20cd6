"""Changes of Nova's servers."""

import requests

from vmapi.backends.base import Receipt
from vmapi.backends.openstack.errors import readable
from vmapi.backends.openstack.servers import Servers, path
from vmapi.backends.openstack.session import Json, Session, content
from vmapi.domain.credential import Credential
from vmapi.domain.vm import Changes
from vmapi.errors import BackendError, BackendTimeout, BackendUnavailable, Forbidden, VMNotFound

HIDDEN = "The cloud does not let your token reach this VM, which is in another of its projects."
REQUEST_IDS = ("X-Openstack-Request-Id", "X-Compute-Request-Id")


class Orders:
    """Given by vmapi's own account, or with the credential of who has asked for it.

    Every method that takes an id raises VMNotFound, also where no server can have that id, and
    Forbidden where the cloud hides from who has asked what it shows to vmapi.
    """

    def __init__(self, session: Session, servers: Servers, on_behalf: Credential | None) -> None:
        self._session = session
        self._servers = servers
        self._on_behalf = on_behalf

    def create(self, order: Json) -> Receipt:
        """Order a server."""
        answer = self._session.change("POST", "/servers", {"server": order}, self._on_behalf)
        with readable("compute"):
            vm_id = str(content(answer, "compute")["server"]["id"])
        return Receipt(vm_id, _request_id(answer))

    def act(self, vm_id: str, body: Json) -> Receipt:
        """Order an action."""
        return _receipt(vm_id, self._send("POST", vm_id, "action", body))

    def delete(self, vm_id: str) -> Receipt:
        """Order the end of a server."""
        return _receipt(vm_id, self._send("DELETE", vm_id))

    def update(self, vm_id: str, present: Json, changes: Changes) -> None:
        """Change metadata, of which a server has those at `present`, and then the name.

        Raises BackendTimeout where the name cannot be sent when the metadata were changed.
        """
        metadata = changes.applied_to(present)
        if metadata != present:
            self._put(vm_id, "metadata", {"metadata": metadata})
        if changes.name is None:
            return
        try:
            self._put(vm_id, "", {"server": {"name": changes.name}})
        except BackendUnavailable as away:
            if metadata == present:
                raise
            raise BackendTimeout("The metadata were changed, not yet the name.") from away

    def _put(self, vm_id: str, below: str, body: Json) -> None:
        content(self._send("PUT", vm_id, below, body), "compute")

    def _send(
        self, method: str, vm_id: str, below: str = "", body: Json | None = None
    ) -> requests.Response:
        try:
            return self._session.change(method, path(vm_id, below), body, self._on_behalf)
        except VMNotFound:
            if self._on_behalf is None:
                raise
            if self._servers.get(vm_id).get("tenant_id") != self._on_behalf.project:
                raise Forbidden(HIDDEN) from None
            raise


def _receipt(vm_id: str, answer: requests.Response) -> Receipt:
    """Return what the outcome is found by. Raises BackendError for what is no answer of Nova's."""
    if request_id := _request_id(answer):
        return Receipt(vm_id, request_id)
    raise BackendError("The cloud's compute service answered without the id of the request.")


def _request_id(answer: requests.Response) -> str:
    given = (answer.headers.get(name) for name in REQUEST_IDS)
    return next((request_id for request_id in given if request_id), "")
