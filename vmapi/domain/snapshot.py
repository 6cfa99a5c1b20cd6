"""VMs as read from the inventory, with their age and revision."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from vmapi import __version__
from vmapi.domain.object_cache import ObjectCache
from vmapi.domain.pagination import Page
from vmapi.domain.vm import VM


def _compute_digest(vm: VM) -> str:
    content = repr((vm.public_fields, __version__)).encode()
    return blake2b(content, digest_size=8).hexdigest()


_DIGESTS = ObjectCache(_compute_digest)


@dataclass(frozen=True, slots=True)
class VMSnapshot:
    """A VM with the age and revision of its inventory row."""

    vm: VM
    #: moves with every change that the API shows; None for an expected VM that no row confirms
    revision: int | None
    #: seconds since the cloud was known to agree
    age_seconds: float

    @property
    def etag(self) -> str | None:
        """The entity tag of the VM (RFC 9110, section 8.8.3); None without a revision.

        The tag has the revision and a digest of the content: revisions restart at 1 when a row
        is purged and inserted again, and another version of vmapi may show the same row otherwise.
        """
        return None if self.revision is None else f'"{self.revision}-{_DIGESTS.get(self.vm)}"'


@dataclass(frozen=True, slots=True)
class VMListing:
    """A page of VMs with the age of the inventory."""

    page: Page[VM]
    #: seconds since all changes were known; None before the first sync
    age_seconds: float | None

    @property
    def vms(self) -> Sequence[VM]:
        """The VMs of the page."""
        return self.page.items
