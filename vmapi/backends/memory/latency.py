"""How long this cloud takes for each verb."""

from collections.abc import Mapping
from types import MappingProxyType

from vmapi.domain.lifecycle import Verb
from vmapi.settings.parsing import MAX_SECONDS, Notation, decimal

NOTATION = Notation(
    "VMAPI_MEMORY_LATENCY",
    f"seconds (0 to {MAX_SECONDS}) for all, or ACTION=SECONDS,… with "
    f"{', '.join(verb.value for verb in Verb)}, restart (both kinds) and * (the rest)",
)
REST = "*"
RESTART = "restart"


def parse(text: str) -> Mapping[Verb, float]:
    """Return the seconds that each verb takes. Raises SettingsError."""
    pairs = text if "=" in text or not text.strip() else f"{REST}={text}"
    seconds = NOTATION.parse(
        pairs, {*Verb, RESTART, REST}, lambda _, written: decimal(written, MAX_SECONDS)
    )
    return MappingProxyType({verb: _of(verb, seconds) for verb in Verb})


def _of(verb: Verb, seconds: Mapping[str, float]) -> float:
    names = (verb, RESTART, REST) if verb.startswith(RESTART) else (verb, REST)
    return next((seconds[name] for name in names if name in seconds), 0.0)
