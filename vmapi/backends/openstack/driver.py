"""The OpenStack driver: the methods of the driver contract, as requests to Nova.

Services call the driver through the circuit breaker. The driver combines server queries, server
commands and the catalog. Its only state is the session and the catalog cache.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Self
from urllib.parse import urlsplit

from openstack.config.cloud_region import CloudRegion

from vmapi.backends.base import AcceptedAction, ActionOutcome, Driver
from vmapi.backends.openstack.catalog.catalog import CloudCatalog
from vmapi.backends.openstack.catalog.items import map_items
from vmapi.backends.openstack.config import load_region, tls_options
from vmapi.backends.openstack.connection.session import CloudSession, Json
from vmapi.backends.openstack.failures.errors import parsing
from vmapi.backends.openstack.failures.exceptions import CredentialsRefused, NovaItemNotFound
from vmapi.backends.openstack.members import object_member
from vmapi.backends.openstack.projects import ProjectPolicy
from vmapi.backends.openstack.quota import read_compute_limits
from vmapi.backends.openstack.servers import actions
from vmapi.backends.openstack.servers.action_records import ActionRecords
from vmapi.backends.openstack.servers.commands import ServerCommands, build_server_body
from vmapi.backends.openstack.servers.mapping import (
    OPERATION_TAG_PREFIX,
    vm_from_server,
)
from vmapi.backends.openstack.servers.queries import ServerQueries
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.lifecycle import Verb
from vmapi.domain.quota import ResourceLimits
from vmapi.domain.timestamps import EPOCH
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.errors import (
    FlavorNotFound,
    Forbidden,
    ImageNotFound,
    InvalidState,
    NetworkNotFound,
    VMNotFound,
)
from vmapi.settings.settings import Settings
from vmapi.settings.tls import TLSOptions

PING_TIMEOUT = 5.0
"""Seconds after which a ping fails: readiness and the breaker need an answer soon."""


class OpenStackBackend(Driver):
    """The VMs of one region: of one Keystone project, or of all projects."""

    def __init__(self, region: CloudRegion, settings: Settings) -> None:
        self._region = region
        self._session = CloudSession(
            region, settings.backend_timeout, settings.threads, partial(load_region, settings)
        )
        self._project_policy = ProjectPolicy(self._session, settings)
        self._catalog = CloudCatalog(
            self._session,
            settings.default_network,
            multi_project=self._project_policy.uses_keystone_projects,
        )
        self._queries = ServerQueries(self._session, self._project_policy.visibility)
        self._action_records = ActionRecords(self._queries, self.get_vm)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the driver without a request to the cloud. Raises SettingsError."""
        return cls(load_region(settings), settings)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def describe(self) -> dict[str, str]:
        """Describe the cloud and the account; the microversion after the first request."""
        auth = self._region.config["auth"]
        url = urlsplit(auth.get("auth_url") or "")
        return {
            "backend": "openstack",
            "cloud": self._region.name or "",
            "auth_url": url._replace(netloc=url.netloc.rpartition("@")[2]).geturl(),
            "project": auth.get("project_name") or auth.get("project_id") or "",
            "region": self._region.region_name or "",
            "sees": str(self._project_policy.visibility),
            "microversion": self._session.microversion or "not asked yet",
        }

    def identity_tls(self, url: str) -> TLSOptions | None:
        """Return the TLS options of the region if its Keystone has the host and port of a URL."""
        auth_url = self._region.config["auth"].get("auth_url") or ""
        return tls_options(self._region) if _server_of(url) == _server_of(auth_url) else None

    def ping(self) -> None:
        """Read one server. Raises Forbidden when the cloud refuses the credentials."""
        try:
            with self._session.call_timeout(PING_TIMEOUT):
                self._project_policy.ping()
        except CredentialsRefused as error:
            raise Forbidden(error.detail) from error

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List the flavors, cached for a minute."""
        return self._catalog.list_flavors(refresh=refresh)

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List the images, cached for a minute."""
        return self._catalog.list_images(refresh=refresh)

    def get_image(self, image_id: str) -> Image:
        """Fetch an image by its id. Raises ImageNotFound."""
        return self._catalog.get_image(image_id)

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks, cached for a minute."""
        return self._catalog.list_networks(refresh=refresh)

    def get_cloud_limits(self, project: str) -> ResourceLimits:
        """Return the limits of Nova's quota."""
        is_own = not self._project_policy.uses_keystone_projects or (
            project == self._session.project_id
        )
        return read_compute_limits(self._session, None if is_own else project)

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Raise Forbidden for a project in which vmapi cannot create or see a VM."""
        self._project_policy.check_create(project, caller_token)

    def get_vm(self, vm_id: str) -> VM:
        """Fetch a server. Raises VMNotFound."""
        server = self._queries.get_server(vm_id)
        image_names = self._catalog.get_image_names([server])
        with parsing("compute"):
            return vm_from_server(server, image_names, self._project_policy.default_project)

    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """List all live servers, or those of a name."""
        # Nova's filter is a regular expression, without regard to case
        filters = {} if name is None else {"name": f"^{re.escape(name)}$"}
        servers = self._queries.list_servers(filters)
        return [vm for vm in self._to_vms(servers) if name in (None, vm.name)]

    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """List the servers with a row changed since a time, deleted servers too."""
        # Nova truncates the time of a change to the second, and compares the truncated time
        filters = {"changes-since": since.replace(microsecond=0).isoformat()}
        return self._to_vms(self._queries.list_servers(filters, deleted=True))

    def cloud_time(self) -> datetime:
        """Return Nova's time, estimated from its responses."""
        return self._session.clock.now()

    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return the console output.

        Raises VMNotFound; InvalidState if the VM has no console.
        """
        with self._session.call_timeout():
            try:
                return self._queries.get_console_output(vm_id, lines)
            except (VMNotFound, NovaItemNotFound):
                self._queries.get_server(vm_id)
                raise InvalidState("The cloud has no console of this VM.") from None
            except Forbidden:
                self._queries.get_server(vm_id)
                raise

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Request a server with the operation id as a tag.

        Raises the errors of the contract.
        """
        spec = self._project_policy.check_and_adapt(spec, caller_token)
        commands = ServerCommands(self._session, self._queries, caller_token)
        try:
            return commands.create(build_server_body(spec, operation_id))
        except (FlavorNotFound, ImageNotFound, NetworkNotFound):
            self._catalog.invalidate()
            raise

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Request an action or a delete. Raises the errors of the contract.

        The default body goes first, without a read of the status. Nova refuses that body in a
        status that needs another one; only then the driver reads the status.
        """
        commands = ServerCommands(self._session, self._queries, caller_token)
        with self._session.call_timeout():
            if verb is Verb.DELETE:
                return commands.delete(vm_id)
            try:
                return commands.run_action(vm_id, actions.default_body(verb))
            except (VMNotFound, NovaItemNotFound):
                self._queries.get_server(vm_id)
                raise InvalidState("The cloud has not chosen a host for the VM yet.") from None
            except InvalidState:
                if not actions.has_body_for_status(verb):
                    raise
                status = self._queries.get_server(vm_id).get("status")
                body = actions.body_for_status(verb, status)
                if body is None:
                    raise
                return commands.run_action(vm_id, body)

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change name and metadata, and keep the metadata of vmapi itself."""
        commands = ServerCommands(self._session, self._queries, caller_token)
        with self._session.call_timeout():
            server = self._queries.get_server(vm_id) if changes.metadata else {}
            commands.update(vm_id, dict(object_member(server, "metadata")), changes)

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Return the outcome of Nova's instance action, as `ActionRecords` does."""
        return self._action_records.get_outcome(action)

    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find the server with the operation id as a tag; the oldest of several."""
        servers = self._queries.list_servers({"tags": f"{OPERATION_TAG_PREFIX}{operation_id}"})
        if not servers:
            return None
        with parsing("compute"):
            vm_id: str = min(servers, key=lambda server: str(server["created"]))["id"]
        try:
            action = self.find_action(vm_id, Verb.CREATE, EPOCH)
        except VMNotFound:
            action = None  # deleted since the list: the next observation shows it
        return action or AcceptedAction(vm_id, "")

    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find the newest instance action of this verb. Raises VMNotFound."""
        return self._action_records.find(vm_id, verb, since, exclude_request_ids)

    def _to_vms(self, servers: Sequence[Json]) -> list[VM]:
        """Map a list of servers; one that cannot be mapped is logged and left out."""
        image_names = self._catalog.get_image_names(servers)
        default_project = self._project_policy.default_project
        return map_items(
            "server", servers, lambda server: vm_from_server(server, image_names, default_project)
        )


def _server_of(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
