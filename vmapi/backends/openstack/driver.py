"""OpenStack, through Nova, Glance and Neutron."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit

from openstack.config.cloud_region import CloudRegion

from vmapi.backends.base import AcceptedAction, ActionOutcome, Driver
from vmapi.backends.openstack import action_bodies as actions
from vmapi.backends.openstack import config as credentials
from vmapi.backends.openstack import instance_actions as history
from vmapi.backends.openstack import mapping as translate
from vmapi.backends.openstack.catalog import CloudCatalog
from vmapi.backends.openstack.errors import CredentialsRefused, parsing
from vmapi.backends.openstack.projects import ProjectPolicy
from vmapi.backends.openstack.server_body import build_server_body
from vmapi.backends.openstack.server_changes import ServerCommands
from vmapi.backends.openstack.servers import ServerQueries
from vmapi.backends.openstack.session import CloudSession, Json
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
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

PING_TIMEOUT = 5.0
"""Seconds after which a cloud that does not answer is away."""


class OpenStackBackend(Driver):
    """The VMs of one region: of one project, or with Keystone's tokens of all its projects."""

    def __init__(self, region: CloudRegion, settings: Settings) -> None:
        self._region = region
        self._session = CloudSession(region, settings.backend_timeout, settings.threads)
        self._project_policy = ProjectPolicy(self._session, settings)
        apart = self._project_policy.uses_keystone_projects
        self._catalog = CloudCatalog(self._session, settings.default_network, multi_project=apart)
        self._servers = ServerQueries(self._session, self._project_policy.visibility)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the driver without asking the cloud. Raises SettingsError."""
        return cls(credentials.load_region(settings), settings)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def describe(self) -> dict[str, str]:
        """Return which cloud this is, as whom, and the microversion once it is known."""
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

    def ping(self) -> None:
        """See that Nova answers. Raises Forbidden when the credentials are refused."""
        try:
            with self._session.call_timeout(PING_TIMEOUT):
                self._project_policy.ping()
        except CredentialsRefused as refused:
            raise Forbidden(refused.detail) from refused

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List the flavors, remembered for a minute."""
        return self._catalog.list_flavors(refresh=refresh)

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List the images, remembered for a minute."""
        return self._catalog.list_images(refresh=refresh)

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks, remembered for a minute."""
        return self._catalog.list_networks(refresh=refresh)

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Raise Forbidden where what is created would not be this project's, or not be seen."""
        self._project_policy.check_create(project, caller_token)

    def get_vm(self, vm_id: str) -> VM:
        """Return a VM as it is now. Raises VMNotFound."""
        return self._to_vms([self._servers.get_server(vm_id)])[0]

    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return every live VM, or those of a name, which to Nova is a regular expression."""
        found = self._servers.list_servers({} if name is None else {"name": f"^{re.escape(name)}$"})
        return [vm for vm in self._to_vms(found) if name in (None, vm.name)]

    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """Return the servers whose row has changed since."""
        # Nova cuts off at the second when a row changed, and compares that
        asked = {"changes-since": since.replace(microsecond=0).isoformat()}
        return self._to_vms(self._servers.list_servers(asked, deleted=True))

    def cloud_time(self) -> datetime:
        """Return Nova's time, as its answers have told."""
        return self._session.clock.now()

    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return what the VM printed. Raises VMNotFound, InvalidState where there is nothing."""
        with self._session.call_timeout():
            try:
                return self._servers.get_console_output(vm_id, lines)
            except VMNotFound:
                self._servers.get_server(vm_id)
                raise InvalidState("The cloud has no console of this VM.") from None
            except Forbidden:
                self._servers.get_server(vm_id)
                raise

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Have a server built, with the operation as its tag. Raises what the contract says."""
        wanted = build_server_body(
            self._project_policy.check_and_adapt(spec, caller_token), operation_id
        )
        try:
            return ServerCommands(self._session, self._servers, caller_token).create(wanted)
        except (FlavorNotFound, ImageNotFound, NetworkNotFound):
            self._catalog.invalidate()
            raise

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Carry one verb out. Raises what the contract says."""
        orders = ServerCommands(self._session, self._servers, caller_token)
        with self._session.call_timeout():
            if verb is Verb.DELETE:
                return orders.delete(vm_id)
            try:
                return orders.run_action(vm_id, actions.default_body(verb))
            except VMNotFound:
                self._servers.get_server(vm_id)
                raise InvalidState("The cloud is still looking for a host.") from None
            except InvalidState:
                if not actions.has_body_for_status(verb):
                    raise
                body = actions.body_for_status(verb, self._servers.get_server(vm_id).get("status"))
                if body is None:
                    raise
                return orders.run_action(vm_id, body)

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change name and metadata, keeping what is vmapi's own. Raises what the contract says."""
        with self._session.call_timeout():
            present = (
                self._servers.get_server(vm_id).get("metadata") or {} if changes.metadata else {}
            )
            ServerCommands(self._session, self._servers, caller_token).update(
                vm_id, present, changes
            )

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Judge a change by Nova's record of it. Raises VMNotFound."""
        try:
            record = self._servers.get_instance_action(action.vm_id, action.request_id)
        except VMNotFound:
            self._servers.get_server(action.vm_id)
            return ActionOutcome.PENDING
        with parsing("compute"):
            return history.outcome_of(record)

    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find the server that has the operation as its tag; of several, the oldest."""
        found = self._servers.list_servers(
            {"tags": f"{translate.OPERATION_TAG_PREFIX}{operation_id}"}
        )
        if not found:
            return None
        with parsing("compute"):
            vm_id: str = min(found, key=lambda server: str(server["created"]))["id"]
        return self.find_action(vm_id, Verb.CREATE, translate.UNIX_EPOCH) or AcceptedAction(
            vm_id, ""
        )

    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find the newest action of this verb in Nova's record. Raises VMNotFound."""
        records = self._servers.list_instance_actions(vm_id)
        with parsing("compute"):
            request_id = history.find_newest(
                records, actions.instance_action_names(verb), since, exclude_request_ids
            )
        return AcceptedAction(vm_id, request_id) if request_id else None

    def _to_vms(self, servers: Sequence[Json]) -> list[VM]:
        names = self._catalog.get_image_names()
        with parsing("compute"):
            return [
                translate.vm_from_server(server, names, self._project_policy.default_project)
                for server in servers
            ]
