"""The failures that this cloud has been told to show."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import Fault
from vmapi.settings.parsing import MAX_MEMORY_SECONDS, KeyValueFormat, parse_decimal, parse_int

FAULTS_FORMAT = KeyValueFormat(
    "VMAPI_MEMORY_FAULTS",
    "FAULT=COUNT or FAULT=SHARE%, … with no_capacity, build_failed, action_failed, unavailable, "
    f"lost_answer, and slow=COUNT:SECONDS or slow=SHARE%:SECONDS (up to {MAX_MEMORY_SECONDS} s)",
)
BUILD_FAILED_HINT = "Delete the VM and create it again; if that fails too, ask your operator."


class FaultKind(StrEnum):
    """What can go wrong."""

    NO_CAPACITY = "no_capacity"
    BUILD_FAILED = "build_failed"
    ACTION_FAILED = "action_failed"
    UNAVAILABLE = "unavailable"
    SLOW = "slow"
    LOST_ANSWER = "lost_answer"


@dataclass(slots=True)
class FaultRule:
    """How often a fault shows itself: the next `count` times, or with this `chance`."""

    count: int = 0
    probability: float = 0.0
    delay_seconds: float = 0.0

    @classmethod
    def parse(cls, kind: str, text: str) -> "FaultRule":
        """Read what is written for a fault. Raises ValueError."""
        often, colon, seconds = text.partition(":")
        if bool(colon) != (kind == FaultKind.SLOW):
            raise ValueError(text)
        extra = parse_decimal(seconds, MAX_MEMORY_SECONDS) if colon else 0.0
        if often.endswith("%"):
            return cls(probability=parse_decimal(often[:-1], 100) / 100, delay_seconds=extra)
        return cls(count=parse_int(often), delay_seconds=extra)


class FaultInjector:
    """Decides which call or build fails; the same Random decides the same."""

    def __init__(self, text: str, random: Random) -> None:
        """Read the faults. Raises SettingsError."""
        self._rules = FAULTS_FORMAT.parse(text, set(FaultKind), FaultRule.parse)
        self._random = random

    def triggers(self, kind: FaultKind) -> bool:
        """Tell whether this fault shows itself now; that uses it up."""
        strike = self._rules.get(kind)
        if strike is None:
            return False
        if strike.count:
            strike.count -= 1
            return True
        return self._random.random() < strike.probability

    def get_delay(self) -> float:
        """Return the seconds that the present call takes longer."""
        return self._rules[FaultKind.SLOW].delay_seconds if self.triggers(FaultKind.SLOW) else 0.0


def build_fault(kind: FaultKind | None, vm_id: str) -> Fault | None:
    """Say, in Nova's words, why a build fails; None is for one that does not."""
    if kind is FaultKind.NO_CAPACITY:
        return Fault(kind.value, "No valid host was found.", "Try a smaller flavor, or later.")
    if kind is FaultKind.BUILD_FAILED:
        message = (
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build "
            f"failures for instance {vm_id}."
        )
        return Fault(kind.value, message, BUILD_FAILED_HINT)
    return None


def no_address_fault(vm_id: str, network_id: str) -> Fault:
    """Say, in Nova's words, that a network has no address left for a build."""
    message = (
        f"Build of instance {vm_id} aborted: Failed to allocate the network(s) with error "
        f"No fixed IP addresses available for network: {network_id}, not rescheduling."
    )
    return Fault(
        FaultKind.BUILD_FAILED.value, message, "Use another network, or delete VMs of this one."
    )


def action_fault(verb: Verb) -> Fault:
    """Say why an action fails."""
    return Fault(
        "backend_error", f"The action {verb} failed on the host.", "Restart it, or delete it."
    )
