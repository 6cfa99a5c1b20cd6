"""Changes of Nova's servers: create, run an action, update, delete.

Nova API "Create Server", "Run an action", "Update Server", "Delete Server" and "Server metadata".
The driver makes one `ServerCommands` per change. Invariants:

- Each command sends one change, with the caller's token if there is one. Only an update sends
  several: one for each removed key, one for all other pairs, one for the name.
- Only a response with Nova's request id and a readable body proves a change.
"""

import gzip
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote

import requests

from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.connection.session import CloudSession, Json, json_body
from vmapi.backends.openstack.failures.errors import proving_outcome
from vmapi.backends.openstack.failures.exceptions import NovaItemNotFound, OutcomeUnproven
from vmapi.backends.openstack.failures.nova_faults import request_id_of
from vmapi.backends.openstack.members import object_member
from vmapi.backends.openstack.servers.mapping import OPERATION_TAG_PREFIX
from vmapi.backends.openstack.servers.metadata_requests import plan_metadata_requests
from vmapi.backends.openstack.servers.queries import ServerQueries, server_path
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.access.project import with_project
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.errors import (
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
        request_id = _proven_request_id(response)
        with proving_outcome():
            vm_id = str(json_body(response, "compute")["server"]["id"])
        return AcceptedAction(vm_id, request_id)

    def run_action(self, vm_id: str, body: Json) -> AcceptedAction:
        """Request an action with this body (see `actions`)."""
        return AcceptedAction(vm_id, _proven_request_id(self._send("POST", vm_id, "action", body)))

    def delete(self, vm_id: str) -> AcceptedAction:
        """Request the deletion of a server."""
        return AcceptedAction(vm_id, _proven_request_id(self._send("DELETE", vm_id)))

    def update(self, vm_id: str, current_metadata: Json, changes: VMPatch) -> None:
        """Change single pairs of the metadata of a server, then its name.

        Pairs that the patch does not name stay, also those that others add at the same time. Raises
        BackendTimeout when one request of several is not sent: the outcome as a whole is unknown.
        """
        requests_to_send = list(self._metadata_requests(vm_id, current_metadata, changes))
        if changes.name is not None:
            name = {"server": {"name": changes.name}}
            requests_to_send.append(partial(self._write, "PUT", vm_id, "", name))
        for number, send in enumerate(requests_to_send):
            try:
                send()
            except BackendUnavailable as error:
                if number == 0:
                    raise
                detail = f"A part of the update was made, not all of it. {error.detail}"
                raise OutcomeUnproven(detail) from error

    def _metadata_requests(
        self, vm_id: str, current: Json, changes: VMPatch
    ) -> Iterator[Callable[[], None]]:
        """Iterate over the requests of a patch. Removals precede: Nova limits the pairs."""
        plan = plan_metadata_requests(current, changes.metadata)
        if plan.replaced is not None:
            body = {"metadata": dict(plan.replaced)}
            yield partial(self._write, "PUT", vm_id, "metadata", body)
        for key in plan.removed:
            yield partial(self._remove_key, vm_id, key)
        if plan.updated:
            body = {"metadata": dict(plan.updated)}
            yield partial(self._write, "POST", vm_id, "metadata", body)

    def _remove_key(self, vm_id: str, key: str) -> None:
        """Remove one metadata pair. A pair that is absent, as Nova's record shows, is removed."""
        try:
            response = self._send("DELETE", vm_id, f"metadata/{quote(key, safe='')}")
        except NovaItemNotFound:
            if key in object_member(self._queries.get_server(vm_id), "metadata"):
                raise
        else:
            _proven_request_id(response)

    def _write(self, method: str, vm_id: str, below: str, body: Json) -> None:
        response = self._send(method, vm_id, below, body)
        _proven_request_id(response)
        with proving_outcome():
            json_body(response, "compute")

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


def _proven_request_id(response: requests.Response) -> str:
    """Return the request id of Nova. Raises OutcomeUnproven for a response that is not Nova's."""
    if request_id := request_id_of(response):
        return request_id
    raise OutcomeUnproven(
        f"The response to the change has no request id of Nova (HTTP {response.status_code})."
    )
