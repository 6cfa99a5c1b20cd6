"""Sample VMs for inventories of any size: halves for each filter, and a few rare VMs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FIRST_CREATED_AT = datetime(2020, 1, 1, tzinfo=UTC)
RARE_VMS = 50
"""The number of VMs with rare values, in an inventory of any size."""


@dataclass(frozen=True)
class SampleVM:
    """A VM as a cloud has it."""

    name: str
    status: str
    flavor: str
    image: str
    created_at: datetime

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata, with the first part of the name as the role."""
        return {"env": "bench", "role": self.name.partition("-")[0]}


def build_sample(place: int, number: int) -> SampleVM:
    """Return the VM at a place, the oldest first, of an inventory with a number of VMs."""
    created_at = FIRST_CREATED_AT + timedelta(seconds=place)
    if place % max(number // RARE_VMS, 2) == 0:
        return SampleVM(f"rare-{place:06d}", "PAUSED", "m1.medium", "debian-12", created_at)
    if place % 2:
        return SampleVM(f"web-{place:06d}", "RUNNING", "m1.tiny", "cirros", created_at)
    return SampleVM(f"db-{place:06d}", "STOPPED", "m1.small", "ubuntu-22.04", created_at)


def list_filters(number: int) -> dict[str, str]:
    """Return queries by title: each filter with half of the VMs, and with the rare ones."""
    middle, oldest, newest = (
        (FIRST_CREATED_AT + timedelta(seconds=place)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for place in (number // 2, RARE_VMS, number - RARE_VMS)
    )
    half = {
        "status": "RUNNING",
        "name": "web-*",
        "flavor": "m1.tiny",
        "image": "cirros",
        "selector": "role%3Dweb",
        "created_after": middle,
        "created_before": middle,
        "updated_after": middle,
    }
    rare = {
        "status": "PAUSED",
        "name": "rare-*",
        "flavor": "m1.medium",
        "image": "debian-12",
        "selector": "role%3Drare",
        "created_after": newest,
        "created_before": oldest,
        "updated_after": newest,
    }
    return {f"{name}, half": f"{name}={value}" for name, value in half.items()} | {
        f"{name}, {RARE_VMS} VMs": f"{name}={value}" for name, value in rare.items()
    }
