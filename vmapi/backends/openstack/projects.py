"""Whose servers are: of projects that vmapi divides its own into, or of Keystone's."""

from collections.abc import Mapping
from dataclasses import replace

from vmapi.backends.openstack.session import CloudSession
from vmapi.backends.openstack.visibility import TenantVisibility
from vmapi.domain.identity import CallerToken
from vmapi.domain.vm import CreateSpec
from vmapi.errors import Forbidden
from vmapi.settings.settings import Settings

CREDENTIALS_REQUIRED_DETAIL = (
    "Who has no Keystone token has VMs created by vmapi's own account, which creates them in its "
    "own project only. Send a Keystone token of the project that the VM is to be in."
)
PROJECT_NOT_VISIBLE_DETAIL = (
    "The cloud shows vmapi's account no VMs of this project, so it creates none there. The "
    "operator can let the account see all projects."
)


class ProjectPolicy:
    """Keystone's where callers may come with its tokens; else servers carry whose they are.

    Those that carry none are of the `default` one.
    """

    def __init__(self, session: CloudSession, settings: Settings) -> None:
        self.uses_keystone_projects = "keystone" in settings.auth_schemes
        self.default_project = None if self.uses_keystone_projects else settings.default_project
        self.visibility = TenantVisibility(all_projects=self.uses_keystone_projects)
        self._session = session

    def ping(self) -> None:
        """Return when Nova answers."""
        self.visibility.query(self._read_one_server)

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Raise Forbidden for another project than ours, unless its user asks and it is seen."""
        if not self.uses_keystone_projects or project == self._session.project_id:
            return
        if caller_token is None:
            raise Forbidden(CREDENTIALS_REQUIRED_DETAIL)
        if not self.visibility.sees_all_projects(self._read_one_server):
            raise Forbidden(PROJECT_NOT_VISIBLE_DETAIL)

    def check_and_adapt(self, spec: CreateSpec, caller_token: CallerToken | None) -> CreateSpec:
        """Return what to have built. Raises Forbidden as `check_create`."""
        if not self.uses_keystone_projects:
            return spec
        # whose it is, says who has it built
        self.check_create(spec.project or "", caller_token)
        return replace(spec, project=None)

    def _read_one_server(self, which: Mapping[str, str]) -> None:
        self._session.read("compute", "/servers", {"limit": "1", **which})
