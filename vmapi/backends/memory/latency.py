"""How long this cloud takes for each verb."""

from collections.abc import Mapping
from types import MappingProxyType

from vmapi.domain.lifecycle import Verb
from vmapi.settings.parsing import MAX_MEMORY_SECONDS, KeyValueFormat, parse_decimal

LATENCY_FORMAT = KeyValueFormat(
    "VMAPI_MEMORY_LATENCY",
    f"seconds (0 to {MAX_MEMORY_SECONDS}) for all, or ACTION=SECONDS,… with "
    f"{', '.join(verb.value for verb in Verb)}, restart (both kinds) and * (the rest)",
)
LATENCY_WILDCARD = "*"
RESTART_OF_ANY_TYPE = "restart"


def parse_latency(text: str) -> Mapping[Verb, float]:
    """Return the seconds that each verb takes. Raises SettingsError."""
    pairs = text if "=" in text or not text.strip() else f"{LATENCY_WILDCARD}={text}"
    seconds = LATENCY_FORMAT.parse(
        pairs,
        {*Verb, RESTART_OF_ANY_TYPE, LATENCY_WILDCARD},
        lambda _, written: parse_decimal(written, MAX_MEMORY_SECONDS),
    )
    return MappingProxyType({verb: _seconds_for(verb, seconds) for verb in Verb})


def _seconds_for(verb: Verb, seconds: Mapping[str, float]) -> float:
    names = (
        (verb, RESTART_OF_ANY_TYPE, LATENCY_WILDCARD)
        if verb.startswith(RESTART_OF_ANY_TYPE)
        else (verb, LATENCY_WILDCARD)
    )
    return next((seconds[name] for name in names if name in seconds), 0.0)
