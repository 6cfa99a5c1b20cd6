"""The projects that may use a private flavor, a shared image or a shared network.

Nova API "Flavors access", Glance API v2 "Sharing", Neutron API v2.0 "RBAC Policies". The catalog
asks with the account of vmapi, which sees the items of all projects if it is an admin's.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from threading import Lock
from time import monotonic
from urllib.parse import quote

import structlog

from vmapi.backends.openstack.connection.deadline import acquire_in_time
from vmapi.backends.openstack.connection.pagination import list_all
from vmapi.backends.openstack.connection.session import CloudSession
from vmapi.backends.openstack.failures.errors import parsing
from vmapi.backends.openstack.failures.exceptions import CatalogItemNotFound, NovaItemNotFound
from vmapi.backends.openstack.members import MAX_ID_CHARS, list_member, text_member
from vmapi.domain.catalog import Projects
from vmapi.errors import BackendError, BackendUnavailable, Forbidden, VmapiError
from vmapi.telemetry.operator_text import operator_text

EVERY_PROJECT = "*"
"""The target of a Neutron policy for all projects."""

MEMBERS_CACHE_TTL = 60.0
"""Seconds for which the members of an image are cached."""

MEMBERS_READ_TIMEOUT = 3.0
"""Seconds for all reads of members in one list: a cloud may have thousands of shared images."""

log = structlog.get_logger("vmapi.openstack")


def read_flavor_projects(session: CloudSession, flavor_id: str) -> Projects:
    """Return the projects with access to a private flavor.

    An account that may not read the access list is no admin: Nova lists the flavors of the
    account's project only. Raises BackendError for an unreadable list.
    """
    path = f"/flavors/{quote(flavor_id, safe='')}/os-flavor-access"
    try:
        access = session.read("compute", path)
    except Forbidden:
        return frozenset({session.project_id or ""})
    except NovaItemNotFound:
        return frozenset()
    with parsing("compute"):
        return frozenset(str(entry["tenant_id"]) for entry in access["flavor_access"])


def read_network_targets(session: CloudSession) -> Mapping[str, Projects]:
    """Return the targets of the sharing policies by network.

    There are none for an account that may not read them, or without the extension of Neutron. Any
    other failure is raised: without its targets, a network for one project would be everybody's.
    """
    query = {"object_type": "network", "action": "access_as_shared"}
    try:
        policies = list_all(session, "network", "/rbac-policies", "rbac_policies", query)
    except (Forbidden, CatalogItemNotFound):
        return {}
    targets: dict[str, Projects] = {}
    for policy in policies:
        network_id = text_member(policy, "object_id", MAX_ID_CHARS)
        target = text_member(policy, "target_tenant", MAX_ID_CHARS)
        targets[network_id] = targets.get(network_id, frozenset()) | {target}
    return targets


def read_image_members(session: CloudSession, image_id: str, status: str | None = None) -> Projects:
    """Return the members of a shared image, or those of a status (`accepted`).

    Glance boots an image for each member, and lists it for members that have accepted it.
    """
    try:
        members = session.read("image", f"/images/{quote(image_id, safe='')}/members")
    except (Forbidden, CatalogItemNotFound):
        return frozenset()
    return frozenset(
        text_member(member, "member_id", MAX_ID_CHARS)
        for member in list_member(members, "members")
        if status in (None, text_member(member, "status"))
    )


class ImageMembers:
    """The members that have accepted shared images, cached. Thread-safe."""

    def __init__(self, session: CloudSession) -> None:
        self._session = session
        self._lock = Lock()
        self._accepted: Mapping[str, Projects] = {}
        self._read_at: dict[str, float] = {}

    def get(self, image_ids: Iterable[str], *, refresh: bool) -> Mapping[str, Projects]:
        """Return the accepted members by image.

        The oldest answers are read again first, within `MEMBERS_READ_TIMEOUT`. An image that was
        never read has no members. Raises BackendUnavailable after the deadline of the call.
        """
        ids = set(image_ids)
        try:
            with acquire_in_time(self._lock):
                expired = sorted(self._expired(ids, refresh), key=self._last_read_at)
                if expired:
                    self._read_again(expired, ids)
                return self._accepted
        except TimeoutError as error:
            raise BackendUnavailable("The cloud responds slowly with its catalog.") from error

    def _expired(self, image_ids: Iterable[str], refresh: bool) -> Iterator[str]:
        oldest = inf if refresh else monotonic() - MEMBERS_CACHE_TTL
        return (image_id for image_id in image_ids if self._last_read_at(image_id) <= oldest)

    def _last_read_at(self, image_id: str) -> float:
        return self._read_at.get(image_id, -inf)

    def _read_again(self, expired: list[str], all_ids: set[str]) -> None:
        accepted = {key: value for key, value in self._accepted.items() if key in all_ids}
        try:
            with self._session.call_timeout(MEMBERS_READ_TIMEOUT):
                for image_id in expired:
                    self._read_at[image_id] = monotonic()
                    accepted[image_id] = self._read_accepted(image_id)
        except VmapiError as error:
            log.warning("members of images not read", reason=operator_text(error))
        self._accepted = accepted
        self._read_at = {key: at for key, at in self._read_at.items() if key in all_ids}

    def _read_accepted(self, image_id: str) -> Projects:
        """Return the members; those of the last answer for an image that Glance cannot show."""
        try:
            return read_image_members(self._session, image_id, "accepted")
        except BackendError as error:
            log.warning("members of an image not read", id=image_id, reason=operator_text(error))
            return self._accepted.get(image_id, frozenset())
