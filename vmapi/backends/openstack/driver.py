"""OpenStack, through Nova, Glance and Neutron."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit

from openstack.config.cloud_region import CloudRegion

from vmapi.backends.base import Backend, Outcome, Receipt
from vmapi.backends.openstack import action_bodies as actions
from vmapi.backends.openstack import config as credentials
from vmapi.backends.openstack import instance_actions as history
from vmapi.backends.openstack import mapping as translate
from vmapi.backends.openstack.catalog import Catalog
from vmapi.backends.openstack.errors import CredentialsRefused, readable
from vmapi.backends.openstack.projects import Projects
from vmapi.backends.openstack.server_body import order
from vmapi.backends.openstack.server_changes import Orders
from vmapi.backends.openstack.servers import Servers
from vmapi.backends.openstack.session import Json, Session
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.credential import Credential
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, Changes, CreateSpec
from vmapi.errors import (
    FlavorNotFound,
    Forbidden,
    ImageNotFound,
    InvalidState,
    NetworkNotFound,
    VMNotFound,
)
from vmapi.settings.settings import Settings

PING = 5.0
"""Seconds after which a cloud that does not answer is away."""


class OpenStackBackend(Backend):
    """The VMs of one region: of one project, or with Keystone's tokens of all its projects."""

    def __init__(self, region: CloudRegion, settings: Settings) -> None:
        self._region = region
        self._session = Session(region, settings.backend_timeout, settings.threads)
        self._projects = Projects(self._session, settings)
        apart = self._projects.are_keystones
        self._catalog = Catalog(self._session, settings.default_network, apart=apart)
        self._servers = Servers(self._session, self._projects.reach)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the driver without asking the cloud. Raises SettingsError."""
        return cls(credentials.region(settings), settings)

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
            "sees": str(self._projects.reach),
            "microversion": self._session.microversion or "not asked yet",
        }

    def ping(self) -> None:
        """See that Nova answers. Raises Forbidden when the credentials are refused."""
        try:
            with self._session.within(PING):
                self._projects.ping()
        except CredentialsRefused as refused:
            raise Forbidden(refused.detail) from refused

    def flavors(self, *, fresh: bool = False) -> Sequence[Flavor]:
        """List the flavors, remembered for a minute."""
        return self._catalog.flavors(fresh=fresh)

    def images(self, *, fresh: bool = False) -> Sequence[Image]:
        """List the images, remembered for a minute."""
        return self._catalog.images(fresh=fresh)

    def networks(self, *, fresh: bool = False) -> Sequence[Network]:
        """List the networks, remembered for a minute."""
        return self._catalog.networks(fresh=fresh)

    def check_create(self, project: str, on_behalf: Credential | None) -> None:
        """Raise Forbidden where what is created would not be this project's, or not be seen."""
        self._projects.check_create(project, on_behalf)

    def get(self, vm_id: str) -> VM:
        """Return a VM as it is now. Raises VMNotFound."""
        return self._vms([self._servers.get(vm_id)])[0]

    def vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return every live VM, or those of a name, which to Nova is a regular expression."""
        found = self._servers.find({} if name is None else {"name": f"^{re.escape(name)}$"})
        return [vm for vm in self._vms(found) if name in (None, vm.name)]

    def changed(self, since: datetime) -> Sequence[VM]:
        """Return the servers whose row has changed since."""
        # Nova cuts off at the second when a row changed, and compares that
        asked = {"changes-since": since.replace(microsecond=0).isoformat()}
        return self._vms(self._servers.find(asked, deleted=True))

    def now(self) -> datetime:
        """Return Nova's time, as its answers have told."""
        return self._session.clock.now()

    def console(self, vm_id: str, lines: int | None) -> str:
        """Return what the VM printed. Raises VMNotFound, InvalidState where there is nothing."""
        with self._session.within():
            try:
                return self._servers.console(vm_id, lines)
            except VMNotFound:
                self._servers.get(vm_id)
                raise InvalidState("The cloud has no console of this VM.") from None
            except Forbidden:
                self._servers.get(vm_id)
                raise

    def create(
        self, spec: CreateSpec, operation_id: str, *, on_behalf: Credential | None = None
    ) -> Receipt:
        """Have a server built, with the operation as its tag. Raises what the contract says."""
        wanted = order(self._projects.marked(spec, on_behalf), operation_id)
        try:
            return Orders(self._session, self._servers, on_behalf).create(wanted)
        except (FlavorNotFound, ImageNotFound, NetworkNotFound):
            self._catalog.forget()
            raise

    def perform(self, vm_id: str, verb: Verb, *, on_behalf: Credential | None = None) -> Receipt:
        """Carry one verb out. Raises what the contract says."""
        orders = Orders(self._session, self._servers, on_behalf)
        with self._session.within():
            if verb is Verb.DELETE:
                return orders.delete(vm_id)
            try:
                return orders.act(vm_id, actions.likely(verb))
            except VMNotFound:
                self._servers.get(vm_id)
                raise InvalidState("The cloud is still looking for a host.") from None
            except InvalidState:
                if not actions.has_alternative(verb):
                    raise
                body = actions.alternative(verb, self._servers.get(vm_id).get("status"))
                if body is None:
                    raise
                return orders.act(vm_id, body)

    def update(self, vm_id: str, changes: Changes, *, on_behalf: Credential | None = None) -> None:
        """Change name and metadata, keeping what is vmapi's own. Raises what the contract says."""
        with self._session.within():
            present = self._servers.get(vm_id).get("metadata") or {} if changes.metadata else {}
            Orders(self._session, self._servers, on_behalf).update(vm_id, present, changes)

    def outcome(self, receipt: Receipt) -> Outcome:
        """Judge a change by Nova's record of it. Raises VMNotFound."""
        try:
            record = self._servers.action(receipt.vm_id, receipt.request_id)
        except VMNotFound:
            self._servers.get(receipt.vm_id)
            return Outcome.PENDING
        with readable("compute"):
            return history.outcome(record)

    def find_created(self, operation_id: str) -> Receipt | None:
        """Find the server that has the operation as its tag; of several, the oldest."""
        found = self._servers.find({"tags": f"{translate.TAG}{operation_id}"})
        if not found:
            return None
        with readable("compute"):
            vm_id: str = min(found, key=lambda server: str(server["created"]))["id"]
        return self.find_performed(vm_id, Verb.CREATE, translate.EPOCH) or Receipt(vm_id, "")

    def find_performed(
        self, vm_id: str, verb: Verb, since: datetime, known: Collection[str] = ()
    ) -> Receipt | None:
        """Find the newest action of this verb in Nova's record. Raises VMNotFound."""
        records = self._servers.actions(vm_id)
        with readable("compute"):
            request_id = history.newest(records, actions.names(verb), since, known)
        return Receipt(vm_id, request_id) if request_id else None

    def _vms(self, servers: Sequence[Json]) -> list[VM]:
        names = self._catalog.image_names()
        with readable("compute"):
            return [translate.vm(server, names, self._projects.default) for server in servers]
