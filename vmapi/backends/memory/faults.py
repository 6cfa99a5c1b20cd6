"""The failures that this cloud has been told to show."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import Fault
from vmapi.settings.parsing import MAX_SECONDS, Notation, decimal, whole

NOTATION = Notation(
    "VMAPI_MEMORY_FAULTS",
    "FAULT=COUNT or FAULT=SHARE%, … with no_capacity, build_failed, action_failed, unavailable, "
    f"lost_answer, and slow=COUNT:SECONDS or slow=SHARE%:SECONDS (up to {MAX_SECONDS} s)",
)
REBUILD = "Delete the VM and create it again; if that fails too, ask your operator."


class Kind(StrEnum):
    """What can go wrong."""

    NO_CAPACITY = "no_capacity"
    BUILD_FAILED = "build_failed"
    ACTION_FAILED = "action_failed"
    UNAVAILABLE = "unavailable"
    SLOW = "slow"
    LOST_ANSWER = "lost_answer"


@dataclass(slots=True)
class Strike:
    """How often a fault shows itself: the next `count` times, or with this `chance`."""

    count: int = 0
    chance: float = 0.0
    seconds: float = 0.0

    @classmethod
    def parse(cls, kind: str, text: str) -> "Strike":
        """Read what is written for a fault. Raises ValueError."""
        often, colon, seconds = text.partition(":")
        if bool(colon) != (kind == Kind.SLOW):
            raise ValueError(text)
        extra = decimal(seconds, MAX_SECONDS) if colon else 0.0
        if often.endswith("%"):
            return cls(chance=decimal(often[:-1], 100) / 100, seconds=extra)
        return cls(count=whole(often), seconds=extra)


class Faults:
    """Decides which call or build fails; the same Random decides the same."""

    def __init__(self, text: str, random: Random) -> None:
        """Read the faults. Raises SettingsError."""
        self._strikes = NOTATION.parse(text, set(Kind), Strike.parse)
        self._random = random

    def strikes(self, kind: Kind) -> bool:
        """Tell whether this fault shows itself now; that uses it up."""
        strike = self._strikes.get(kind)
        if strike is None:
            return False
        if strike.count:
            strike.count -= 1
            return True
        return self._random.random() < strike.chance

    def delay(self) -> float:
        """Return the seconds that the present call takes longer."""
        return self._strikes[Kind.SLOW].seconds if self.strikes(Kind.SLOW) else 0.0


def build_fault(kind: Kind | None, vm_id: str) -> Fault | None:
    """Say, in Nova's words, why a build fails; None is for one that does not."""
    if kind is Kind.NO_CAPACITY:
        return Fault(kind.value, "No valid host was found.", "Try a smaller flavor, or later.")
    if kind is Kind.BUILD_FAILED:
        message = (
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build "
            f"failures for instance {vm_id}."
        )
        return Fault(kind.value, message, REBUILD)
    return None


def no_address(vm_id: str, network_id: str) -> Fault:
    """Say, in Nova's words, that a network has no address left for a build."""
    message = (
        f"Build of instance {vm_id} aborted: Failed to allocate the network(s) with error "
        f"No fixed IP addresses available for network: {network_id}, not rescheduling."
    )
    return Fault(
        Kind.BUILD_FAILED.value, message, "Use another network, or delete VMs of this one."
    )


def action_fault(verb: Verb) -> Fault:
    """Say why an action fails."""
    return Fault(
        "backend_error", f"The action {verb} failed on the host.", "Restart it, or delete it."
    )
