"""What is known of VMs, and how old that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from vmapi import __version__
from vmapi.domain.pagination import Page
from vmapi.domain.vm import VM


@dataclass(frozen=True, slots=True)
class VMSnapshot:
    """A VM; `age` is in seconds, `revision` moves when what is shown of it does.

    It is None for a VM that is not as it was seen, but as it must be.
    """

    vm: VM
    revision: int | None
    age_seconds: float

    @property
    def etag(self) -> str | None:
        """The entity tag of what is shown (RFC 9110, section 8.8.3).

        Revisions count from 1 again when a VM was forgotten, and another version of this code may
        show the same row otherwise: so what is shown is in the tag too.
        """
        if self.revision is None:
            return None
        if "digest" not in self.vm.forms:
            shown = repr((self.vm.public_fields, __version__)).encode()
            self.vm.forms["digest"] = blake2b(shown, digest_size=8).hexdigest().encode()
        return f'"{self.revision}-{self.vm.forms["digest"].decode()}"'


@dataclass(frozen=True, slots=True)
class VMListing:
    """A page of VMs; `age` is in seconds, None where nobody has ever looked at everything."""

    page: Page[VM]
    age_seconds: float | None

    @property
    def vms(self) -> Sequence[VM]:
        """The VMs of the page."""
        return self.page.items
