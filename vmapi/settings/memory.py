"""Settings of the in-memory cloud: latency, faults and quota."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType

from vmapi.domain.lifecycle import Verb
from vmapi.settings.declaration import ValueFormat, setting
from vmapi.settings.parsing import WILDCARD, parse_decimal, parse_int, parse_pairs, render_pairs

MAX_MEMORY_SECONDS = 3600
RESTART_OF_ANY_TYPE = "restart"


def parse_latency(text: str) -> Mapping[Verb, float]:
    """Parse the seconds that each verb takes. Raises ValueError."""
    pairs = text if "=" in text or not text.strip() else f"{WILDCARD}={text}"
    names = {*Verb, RESTART_OF_ANY_TYPE, WILDCARD}
    seconds = parse_pairs(pairs, names, lambda _, value: parse_decimal(value, MAX_MEMORY_SECONDS))
    return MappingProxyType({verb: _latency_of(verb, seconds) for verb in Verb})


def _latency_of(verb: Verb, seconds: Mapping[str, float]) -> float:
    is_restart = verb.startswith(RESTART_OF_ANY_TYPE)
    names = (verb, RESTART_OF_ANY_TYPE, WILDCARD) if is_restart else (verb, WILDCARD)
    return next((seconds[name] for name in names if name in seconds), 0.0)


def render_latency(latency: Mapping[Verb, float]) -> str:
    """Render the seconds of each verb as `VMAPI_MEMORY_LATENCY` has them."""
    if len(set(latency.values())) == 1:
        return f"{next(iter(latency.values())):g}"
    pairs = render_pairs({verb: f"{seconds:g}" for verb, seconds in latency.items()})
    return pairs.removesuffix(f",{WILDCARD}=0")


class FaultKind(StrEnum):
    """A failure that the in-memory cloud can simulate."""

    NO_CAPACITY = "no_capacity"
    BUILD_FAILED = "build_failed"
    ACTION_FAILED = "action_failed"
    UNAVAILABLE = "unavailable"
    SLOW = "slow"
    LOST_ANSWER = "lost_answer"


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How often a fault triggers: the next `count` times, else with a probability."""

    count: int = 0
    #: From 0 to 1.
    probability: float = 0.0
    #: How much longer a call takes; for SLOW only.
    delay_seconds: float = 0.0


def parse_faults(text: str) -> Mapping[FaultKind, FaultRule]:
    """Parse the rules of the faults. Raises ValueError."""
    rules = parse_pairs(text, set(FaultKind), _parse_fault_rule)
    return MappingProxyType({FaultKind(kind): rule for kind, rule in rules.items()})


def _parse_fault_rule(kind: str, text: str) -> FaultRule:
    frequency, colon, delay = text.partition(":")
    if bool(colon) != (kind == FaultKind.SLOW):
        raise ValueError(text)
    delay_seconds = parse_decimal(delay, MAX_MEMORY_SECONDS) if colon else 0.0
    if frequency.endswith("%"):
        probability = parse_decimal(frequency[:-1], 100) / 100
        return FaultRule(probability=probability, delay_seconds=delay_seconds)
    return FaultRule(count=parse_int(frequency), delay_seconds=delay_seconds)


def render_faults(rules: Mapping[FaultKind, FaultRule]) -> str:
    """Render the rules of the faults as `VMAPI_MEMORY_FAULTS` has them."""
    return ",".join(f"{kind}={_render_fault_rule(rule)}" for kind, rule in rules.items())


def _render_fault_rule(rule: FaultRule) -> str:
    frequency = f"{rule.probability * 100:.9g}%" if rule.probability else str(rule.count)
    return f"{frequency}:{rule.delay_seconds:g}" if rule.delay_seconds else frequency


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """The quota of the in-memory cloud; `ram_mb` is in MiB."""

    vms: int = 100
    vcpus: int = 200
    ram_mb: int = 409_600


def parse_memory_limits(text: str) -> MemoryLimits:
    """Parse the limits that differ from the defaults. Raises ValueError."""
    names = [limit.name for limit in fields(MemoryLimits)]
    return replace(MemoryLimits(), **parse_pairs(text, names, lambda _, value: parse_int(value)))


def render_memory_limits(limits: MemoryLimits) -> str:
    """Render the limits as `VMAPI_MEMORY_LIMITS` has them."""
    return ",".join(f"{name}={value}" for name, value in asdict(limits).items())


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """The in-memory cloud."""

    memory_latency: Mapping[Verb, float] = setting(
        "VMAPI_MEMORY_LATENCY",
        ValueFormat(
            f"seconds (0 to {MAX_MEMORY_SECONDS}) for all, or ACTION=SECONDS,… with "
            f"{', '.join(Verb)}, {RESTART_OF_ANY_TYPE} (both kinds) and {WILDCARD} (the rest)",
            parse_latency,
            render_latency,
        ),
        "0",
        "How long the in-memory cloud takes for an action.",
        example="create=2,stop=0.5,*=0.1",
    )
    memory_faults: Mapping[FaultKind, FaultRule] = setting(
        "VMAPI_MEMORY_FAULTS",
        ValueFormat(
            "FAULT=COUNT or FAULT=SHARE%, … with no_capacity, build_failed, action_failed, "
            "unavailable, lost_answer, and slow=COUNT:SECONDS or slow=SHARE%:SECONDS "
            f"(up to {MAX_MEMORY_SECONDS} s)",
            parse_faults,
            render_faults,
        ),
        "",
        "The failures that the in-memory cloud shows: the next COUNT times, or for a random "
        "share of the calls.",
        unset=MappingProxyType({}),
        example="no_capacity=1,slow=10%:2",
    )
    memory_limits: MemoryLimits = setting(
        "VMAPI_MEMORY_LIMITS",
        ValueFormat(
            "vms=N,vcpus=N,ram_mb=N, any of them, whole numbers",
            parse_memory_limits,
            render_memory_limits,
        ),
        "vms=100,vcpus=200,ram_mb=409600",
        "The quota of the in-memory cloud. A resource that is not named keeps its default.",
    )
