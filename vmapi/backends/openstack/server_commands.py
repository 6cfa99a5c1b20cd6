"""Changes of Nova's servers: create, run an action, update, delete.

Nova API "Create Server", "Run an action", "Update Server", "Replace Metadata Items", "Delete
Server". The driver makes one `ServerCommands` per change. Invariant: each command sends one change,
with the caller's token if there is one; an update sends one for the metadata and one for the name.
"""

import gzip
from base64 import b64encode

import requests

from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.errors import parsing
from vmapi.backends.openstack.mapping import OPERATION_TAG_PREFIX
from vmapi.backends.openstack.nova_faults import REQUEST_ID_HEADERS
from vmapi.backends.openstack.server_queries import ServerQueries, server_path
from vmapi.backends.openstack.session import CloudSession, Json, json_body
from vmapi.domain.identity import CallerToken
from vmapi.domain.project import with_project
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Forbidden,
    ValidationFailed,
    VMNotFound,
)

MAX_USER_DATA_CHARS = 65_535
"""Nova's limit for user data, in characters of base64."""

HIDDEN_VM_DETAIL = (
    "The cloud does not let your token reach this VM, which is in another of its projects."
)


class ServerCommands:
    """Sends changes with the caller's token, or with the credentials of vmapi.

    Every method with a `vm_id` raises VMNotFound, for a malformed id too, and Forbidden for a
    server that vmapi can see and the caller's token cannot.
    """

    def __init__(
        self, session: CloudSession, queries: ServerQueries, caller_token: CallerToken | None
    ) -> None:
        self._session = session
        self._queries = queries
        self._caller_token = caller_token

    def create(self, server: Json) -> AcceptedAction:
        """Request a server with this body."""
        body = {"server": server}
        response = self._session.send_change("POST", "/servers", body, self._caller_token)
        with parsing("compute"):
            vm_id = str(json_body(response, "compute")["server"]["id"])
        return AcceptedAction(vm_id, _request_id_of(response))

    def run_action(self, vm_id: str, body: Json) -> AcceptedAction:
        """Request an action with this body (see `server_actions`)."""
        return _accepted_action(vm_id, self._send("POST", vm_id, "action", body))

    def delete(self, vm_id: str) -> AcceptedAction:
        """Request the deletion of a server."""
        return _accepted_action(vm_id, self._send("DELETE", vm_id))

    def update(self, vm_id: str, current_metadata: Json, changes: VMPatch) -> None:
        """Replace the metadata of a server, then its name.

        Raises BackendTimeout when the metadata are changed and the request for the name is not
        sent: the outcome as a whole is unknown then.
        """
        metadata = changes.applied_to(current_metadata)
        if metadata != current_metadata:
            self._put(vm_id, "metadata", {"metadata": metadata})
        if changes.name is None:
            return
        try:
            self._put(vm_id, "", {"server": {"name": changes.name}})
        except BackendUnavailable as error:
            if metadata == current_metadata:
                raise
            raise BackendTimeout("The metadata were changed, not yet the name.") from error

    def _put(self, vm_id: str, below: str, body: Json) -> None:
        json_body(self._send("PUT", vm_id, below, body), "compute")

    def _send(
        self, method: str, vm_id: str, below: str = "", body: Json | None = None
    ) -> requests.Response:
        path = server_path(vm_id, below)
        try:
            return self._session.send_change(method, path, body, self._caller_token)
        except VMNotFound:
            if self._caller_token is None:
                raise
            if self._queries.get_server(vm_id).get("tenant_id") != self._caller_token.project:
                raise Forbidden(HIDDEN_VM_DETAIL) from None
            raise


def build_server_body(spec: CreateSpec, operation_id: str) -> Json:
    """Return the `server` member of a create.

    Raises ValidationFailed when the user data are too long.
    """
    server: Json = {
        "name": spec.name,
        "flavorRef": spec.flavor_id,
        "imageRef": spec.image_id,
        "networks": [{"uuid": spec.network_id}] if spec.network_id else "auto",
        "metadata": with_project(spec),
        "tags": [f"{OPERATION_TAG_PREFIX}{operation_id}"],
    }
    if spec.user_data is not None:
        server["user_data"] = encode_user_data(spec.user_data)
    if spec.key_name is not None:
        server["key_name"] = spec.key_name
    if spec.security_groups:
        server["security_groups"] = [{"name": name} for name in spec.security_groups]
    return server


def encode_user_data(user_data: bytes) -> str:
    """Encode user data in base64, compressed with gzip if necessary.

    cloud-init unpacks compressed user data. Raises ValidationFailed when the compressed data are
    too long too.
    """
    plain = b64encode(user_data).decode()
    if len(plain) <= MAX_USER_DATA_CHARS:
        return plain
    compressed = b64encode(gzip.compress(user_data, mtime=0)).decode()
    if len(compressed) <= MAX_USER_DATA_CHARS:
        return compressed
    message = f"takes {len(compressed)} characters, packed; the cloud takes {MAX_USER_DATA_CHARS}"
    raise ValidationFailed(f"The user data {message}.", ("/user_data", message))


def _accepted_action(vm_id: str, response: requests.Response) -> AcceptedAction:
    """Return the accepted action.

    Raises BackendError for a response without request id, which is not from Nova.
    """
    if request_id := _request_id_of(response):
        return AcceptedAction(vm_id, request_id)
    raise BackendError("The cloud's compute service sent a response without a request id.")


def _request_id_of(response: requests.Response) -> str:
    values = (response.headers.get(name) for name in REQUEST_ID_HEADERS)
    return next((request_id for request_id in values if request_id), "")
