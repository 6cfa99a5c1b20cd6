"""Fault injection by VMAPI_MEMORY_FAULTS, with the messages of Nova."""

from collections.abc import Mapping
from random import Random

from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import Fault
from vmapi.settings.memory import FaultKind, FaultRule

BUILD_FAILED_HINT = "Delete the VM and create it again; if that fails too, ask your operator."


class FaultInjector:
    """Decides which call or build fails. The same seed makes the same decisions."""

    def __init__(self, rules: Mapping[FaultKind, FaultRule], random: Random) -> None:
        self._rules = rules
        self._remaining = {kind: rule.count for kind, rule in rules.items()}
        self._random = random

    @property
    def has_delays(self) -> bool:
        """Whether a call may be slow."""
        return FaultKind.SLOW in self._rules

    def triggers(self, kind: FaultKind) -> bool:
        """Return whether a fault triggers now, and count it."""
        rule = self._rules.get(kind)
        if rule is None:
            return False
        if self._remaining[kind]:
            self._remaining[kind] -= 1
            return True
        return self._random.random() < rule.probability

    def get_delay(self) -> float:
        """Return the additional seconds of the current call."""
        return self._rules[FaultKind.SLOW].delay_seconds if self.triggers(FaultKind.SLOW) else 0.0


def build_fault(kind: FaultKind | None, vm_id: str) -> Fault | None:
    """Return the fault of a failed build; None for a build that succeeds."""
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
    """Return the fault of a build in a network without a free address."""
    message = (
        f"Build of instance {vm_id} aborted: Failed to allocate the network(s) with error "
        f"No fixed IP addresses available for network: {network_id}, not rescheduling."
    )
    return Fault(
        FaultKind.BUILD_FAILED.value, message, "Use another network, or delete VMs of this one."
    )


def action_fault(verb: Verb) -> Fault:
    """Return the fault of a failed action."""
    return Fault(
        "backend_error", f"The action {verb} failed on the host.", "Restart it, or delete it."
    )
