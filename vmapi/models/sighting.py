"""What is known of VMs, and how old that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmapi.models.page import Page
from vmapi.models.vm import VM


@dataclass(frozen=True, slots=True)
class Sighting:
    """A VM; `age` is in seconds, `revision` moves when what is shown of it does."""

    vm: VM
    revision: int
    age: float


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of VMs; `age` is in seconds, None where nobody has ever looked at everything."""

    page: Page[VM]
    age: float | None

    @property
    def vms(self) -> Sequence[VM]:
        """The VMs of the page."""
        return self.page.items
