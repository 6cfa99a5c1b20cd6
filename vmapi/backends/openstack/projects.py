"""Whose servers are: of projects that vmapi divides its own into, or of Keystone's."""

from collections.abc import Mapping
from dataclasses import replace

from vmapi.backends.openstack.session import Session
from vmapi.backends.openstack.visibility import Reach
from vmapi.domain.credential import Credential
from vmapi.domain.vm import CreateSpec
from vmapi.errors import Forbidden
from vmapi.settings.settings import Settings

FOR_OTHERS = (
    "Who has no Keystone token has VMs created by vmapi's own account, which creates them in its "
    "own project only. Send a Keystone token of the project that the VM is to be in."
)
UNSEEN = (
    "The cloud shows vmapi's account no VMs of this project, so it creates none there. The "
    "operator can let the account see all projects."
)


class Projects:
    """Keystone's where callers may come with its tokens; else servers carry whose they are.

    Those that carry none are of the `default` one.
    """

    def __init__(self, session: Session, settings: Settings) -> None:
        self.are_keystones = "keystone" in settings.auth_schemes
        self.default = None if self.are_keystones else settings.default_project
        self.reach = Reach(everywhere=self.are_keystones)
        self._session = session

    def ping(self) -> None:
        """Return when Nova answers."""
        self.reach.over(self._glance)

    def check_create(self, project: str, on_behalf: Credential | None) -> None:
        """Raise Forbidden for another project than ours, unless its user asks and it is seen."""
        if not self.are_keystones or project == self._session.project:
            return
        if on_behalf is None:
            raise Forbidden(FOR_OTHERS)
        if not self.reach.is_wide(self._glance):
            raise Forbidden(UNSEEN)

    def marked(self, spec: CreateSpec, on_behalf: Credential | None) -> CreateSpec:
        """Return what to have built. Raises Forbidden as `check_create`."""
        if not self.are_keystones:
            return spec
        # whose it is, says who has it built
        self.check_create(spec.project or "", on_behalf)
        return replace(spec, project=None)

    def _glance(self, which: Mapping[str, str]) -> None:
        self._session.read("compute", "/servers", {"limit": "1", **which})
