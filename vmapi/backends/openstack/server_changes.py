"""Changes of Nova's servers."""

import requests

from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.errors import parsing
from vmapi.backends.openstack.servers import ServerQueries, server_path
from vmapi.backends.openstack.session import CloudSession, Json, json_body
from vmapi.domain.identity import CallerToken
from vmapi.domain.vm import VMPatch
from vmapi.errors import BackendError, BackendTimeout, BackendUnavailable, Forbidden, VMNotFound

HIDDEN_VM_DETAIL = (
    "The cloud does not let your token reach this VM, which is in another of its projects."
)
REQUEST_ID_HEADERS = ("X-Openstack-Request-Id", "X-Compute-Request-Id")


class ServerCommands:
    """Given by vmapi's own account, or with the credential of who has asked for it.

    Every method that takes an id raises VMNotFound, also where no server can have that id, and
    Forbidden where the cloud hides from who has asked what it shows to vmapi.
    """

    def __init__(
        self, session: CloudSession, servers: ServerQueries, caller_token: CallerToken | None
    ) -> None:
        self._session = session
        self._servers = servers
        self._caller_token = caller_token

    def create(self, server: Json) -> AcceptedAction:
        """Order a server."""
        answer = self._session.send_change(
            "POST", "/servers", {"server": server}, self._caller_token
        )
        with parsing("compute"):
            vm_id = str(json_body(answer, "compute")["server"]["id"])
        return AcceptedAction(vm_id, _request_id_of(answer))

    def run_action(self, vm_id: str, body: Json) -> AcceptedAction:
        """Order an action."""
        return _accepted_action(vm_id, self._send("POST", vm_id, "action", body))

    def delete(self, vm_id: str) -> AcceptedAction:
        """Order the end of a server."""
        return _accepted_action(vm_id, self._send("DELETE", vm_id))

    def update(self, vm_id: str, current_metadata: Json, changes: VMPatch) -> None:
        """Change metadata, of which a server has those at `present`, and then the name.

        Raises BackendTimeout where the name cannot be sent when the metadata were changed.
        """
        metadata = changes.applied_to(current_metadata)
        if metadata != current_metadata:
            self._put(vm_id, "metadata", {"metadata": metadata})
        if changes.name is None:
            return
        try:
            self._put(vm_id, "", {"server": {"name": changes.name}})
        except BackendUnavailable as away:
            if metadata == current_metadata:
                raise
            raise BackendTimeout("The metadata were changed, not yet the name.") from away

    def _put(self, vm_id: str, below: str, body: Json) -> None:
        json_body(self._send("PUT", vm_id, below, body), "compute")

    def _send(
        self, method: str, vm_id: str, below: str = "", body: Json | None = None
    ) -> requests.Response:
        try:
            return self._session.send_change(
                method, server_path(vm_id, below), body, self._caller_token
            )
        except VMNotFound:
            if self._caller_token is None:
                raise
            if self._servers.get_server(vm_id).get("tenant_id") != self._caller_token.project:
                raise Forbidden(HIDDEN_VM_DETAIL) from None
            raise


def _accepted_action(vm_id: str, response: requests.Response) -> AcceptedAction:
    """Return what the outcome is found by. Raises BackendError for what is no answer of Nova's."""
    if request_id := _request_id_of(response):
        return AcceptedAction(vm_id, request_id)
    raise BackendError("The cloud's compute service answered without the id of the request.")


def _request_id_of(response: requests.Response) -> str:
    given = (response.headers.get(name) for name in REQUEST_ID_HEADERS)
    return next((request_id for request_id in given if request_id), "")
