"""The project policy: the projects in which vmapi creates and lists VMs.

With the authentication scheme `keystone`, the project of a VM is the Keystone project of its
server. Otherwise all servers belong to one Keystone project, and the metadata of a server names the
vmapi project.
"""

from collections.abc import Mapping
from dataclasses import replace

from vmapi.backends.openstack.connection.session import CloudSession
from vmapi.backends.openstack.servers.visibility import TenantVisibility
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.vm import CreateSpec
from vmapi.errors import Forbidden
from vmapi.settings.settings import Settings

CREDENTIALS_REQUIRED_DETAIL = (
    "Without a Keystone token, vmapi creates VMs with its own account, and in the project of that "
    "account only. Send a Keystone token of the project in which the VM is to be created."
)
PROJECT_NOT_VISIBLE_DETAIL = (
    "The account of vmapi cannot list the VMs of this project, so vmapi creates none there. The "
    "operator can allow the account to list all projects."
)


class ProjectPolicy:
    """Decides on projects, by the authentication schemes of the settings."""

    def __init__(self, session: CloudSession, settings: Settings) -> None:
        self.uses_keystone_projects = "keystone" in settings.auth_schemes
        self.default_project = None if self.uses_keystone_projects else settings.default_project
        self.visibility = TenantVisibility(all_projects=self.uses_keystone_projects)
        self._session = session

    def ping(self) -> None:
        """Read one server of the visible projects."""
        self.visibility.query(self._read_one_server)

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Check that vmapi can create a VM in a project and see it afterwards.

        Raises Forbidden for another project than that of the service account, unless the caller
        sends a token and the servers of all projects are visible.
        """
        if not self.uses_keystone_projects or project == self._session.project_id:
            return
        if caller_token is None:
            raise Forbidden(CREDENTIALS_REQUIRED_DETAIL)
        if not self.visibility.sees_all_projects(self._read_one_server):
            raise Forbidden(PROJECT_NOT_VISIBLE_DETAIL)

    def check_and_adapt(self, spec: CreateSpec, caller_token: CallerToken | None) -> CreateSpec:
        """Return the spec to send. Raises Forbidden as `check_create` does."""
        if not self.uses_keystone_projects:
            return spec
        # the token decides on the project, so the metadata need not
        self.check_create(spec.project or "", caller_token)
        return replace(spec, project=None)

    def _read_one_server(self, scope: Mapping[str, str]) -> None:
        self._session.read("compute", "/servers", {"limit": "1", **scope})
