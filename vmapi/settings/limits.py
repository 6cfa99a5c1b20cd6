"""Settings of projects and limits: quotas, rate limits, event streams, waiting requests."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from vmapi.domain.access.project import PROJECT_NAME_PATTERN
from vmapi.domain.access.rate_limit import RATE_UNIT_SECONDS, RateLimit
from vmapi.domain.quota import (
    NO_QUOTAS,
    NO_RESOURCE_LIMITS,
    RESOURCE_KINDS,
    QuotaConfig,
    ResourceLimits,
)
from vmapi.settings.declaration import ValueFormat, setting
from vmapi.settings.parsing import WILDCARD, integer, matching, parse_int, parse_pairs
from vmapi.settings.patterns import REDIS_URL

RATE_LIMIT_OFF = "off"


def parse_quotas(text: str) -> QuotaConfig:
    """Parse the resource limits of each project. Raises ValueError."""
    limits: dict[str, ResourceLimits] = {}
    for part in text.split(";") if text.strip() else ():
        project, colon, amounts = (piece.strip() for piece in part.partition(":"))
        is_project = project == WILDCARD or PROJECT_NAME_PATTERN.fullmatch(project)
        if not (is_project and colon) or project in limits:
            raise ValueError(text)
        pairs = parse_pairs(amounts, RESOURCE_KINDS, lambda _, value: parse_int(value))
        limits[project] = ResourceLimits(**pairs)
    default = limits.pop(WILDCARD, NO_RESOURCE_LIMITS)
    return QuotaConfig(limits, default)


def render_quotas(quotas: QuotaConfig) -> str:
    """Render the resource limits as `VMAPI_QUOTAS` has them."""
    limits = dict(quotas.by_project)
    if quotas.default != NO_RESOURCE_LIMITS:
        limits[WILDCARD] = quotas.default
    return ";".join(
        f"{project}:" + ",".join(f"{k}={v}" for k, v in asdict(limit).items() if v is not None)
        for project, limit in limits.items()
    )


def parse_rate_limits(kind: str, text: str) -> Sequence[RateLimit]:
    """Parse the rate limits of a kind of requests; none for `off`. Raises ValueError."""
    if text == RATE_LIMIT_OFF:
        return ()
    limits: dict[str, RateLimit] = {}
    units = "|".join(RATE_UNIT_SECONDS)
    for part in text.split(";"):
        match = re.fullmatch(rf"\s*([1-9][0-9]{{0,6}})/({units})\s*", part, re.ASCII)
        if match is None or match[2] in limits:
            raise ValueError(text)
        limits[match[2]] = RateLimit(int(match[1]), match[2], f"{kind}-per-{match[2]}")
    return tuple(limits.values())


def render_rate_limits(limits: Sequence[RateLimit]) -> str:
    """Render rate limits as the `VMAPI_RATE_…` settings have them."""
    return ";".join(f"{limit.amount}/{limit.unit}" for limit in limits) or RATE_LIMIT_OFF


def _rates(kind: str) -> ValueFormat[Sequence[RateLimit]]:
    return ValueFormat(
        "N/second, N/minute or N/hour, several with ; between them, or off",
        lambda text: parse_rate_limits(kind, text),
        render_rate_limits,
    )


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Projects, quotas and limits."""

    default_project: str = setting(
        "VMAPI_DEFAULT_PROJECT",
        matching(PROJECT_NAME_PATTERN.pattern, "a name of A-Za-z0-9._-"),
        "default",
        "The project of VMs that were created outside of vmapi, and of callers without a project. "
        "Not used with `keystone`.",
    )
    quotas: QuotaConfig = setting(
        "VMAPI_QUOTAS",
        ValueFormat(
            f"PROJECT:vms=N,vcpus=N,ram_mb=N;… with any of the three, {WILDCARD} for every "
            "other project",
            parse_quotas,
            render_quotas,
        ),
        "",
        "The quota of each project. Unset: no quotas.",
        unset=NO_QUOTAS,
        example="web:vms=10,vcpus=20,ram_mb=40960;*:vms=100",
    )
    rate_reads: Sequence[RateLimit] = setting(
        "VMAPI_RATE_READS", _rates("reads"), "200/second", "Rate limit of the reads of one caller."
    )
    rate_changes: Sequence[RateLimit] = setting(
        "VMAPI_RATE_CHANGES",
        _rates("changes"),
        "50/second;1200/minute",
        "Rate limit of the changes of one caller.",
    )
    rate_address: Sequence[RateLimit] = setting(
        "VMAPI_RATE_ADDRESS",
        _rates("address"),
        "500/second",
        "Rate limit of all requests from one address, applied before authentication.",
    )
    rate_storage: str | None = setting(
        "VMAPI_RATE_STORAGE",
        matching(REDIS_URL, "memory, or redis://:PASSWORD@HOST:PORT/NUMBER, percent-encoded"),
        "",
        "The Redis that counts requests for all processes together. Unset, or `memory`: each "
        "process counts its own requests.",
        example="redis://:PASSWORD@127.0.0.1:6379/0",
        is_secret=True,
    )
    event_streams: int = setting(
        "VMAPI_EVENT_STREAMS",
        integer(1, 10_000),
        "1000",
        "Limit of open event streams in each process. Each one is a connection: with few open "
        "files, the limit is lower.",
    )
    caller_streams: int = setting(
        "VMAPI_CALLER_STREAMS",
        integer(1, 10_000),
        "100",
        "Limit of open event streams of one caller in each process.",
    )
    caller_waits: int | None = setting(
        "VMAPI_CALLER_WAITS",
        integer(1, 128),
        "",
        "Limit of waiting requests (`Prefer: wait`) of one caller in each process. Unset: a "
        "quarter of `VMAPI_THREADS`.",
        example="2",
    )
