"""Settings of operations and stored data: engine, database, deadlines, retention, audit key."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from vmapi.domain.lifecycle import Action
from vmapi.settings.declaration import ValueFormat, setting
from vmapi.settings.parsing import (
    WILDCARD,
    duration,
    matching,
    one_of,
    parse_int,
    parse_pairs,
    render_pairs,
)
from vmapi.settings.patterns import BROKER_URL, POSTGRESQL_URL

ENGINES = ("thread", "worker", "celery")

#: A cloud may have to fetch the image to the host before a VM can boot.
DEFAULT_DEADLINES = "create=1800,*=600"
MIN_DEADLINE_SECONDS, MAX_DEADLINE_SECONDS = 10, 86_400


def parse_deadlines(text: str) -> Mapping[Action, timedelta]:
    """Parse the deadline of each action; an action that is not named keeps its default.

    Raises ValueError.
    """
    named, default = _parse_deadline_seconds(text), _parse_deadline_seconds(DEFAULT_DEADLINES)
    seconds = {
        action: named.get(action) or named.get(WILDCARD) or default.get(action) or default[WILDCARD]
        for action in Action
    }
    return MappingProxyType({action: timedelta(seconds=value) for action, value in seconds.items()})


def _parse_deadline_seconds(text: str) -> dict[str, int]:
    return parse_pairs(text, {*Action, WILDCARD}, lambda _, value: _parse_bounded(value))


def _parse_bounded(text: str) -> int:
    seconds = parse_int(text)
    if not MIN_DEADLINE_SECONDS <= seconds <= MAX_DEADLINE_SECONDS:
        raise ValueError(text)
    return seconds


def render_deadlines(deadlines: Mapping[Action, timedelta]) -> str:
    """Render the deadlines as `VMAPI_DEADLINES` has them."""
    return render_pairs(
        {action: f"{limit.total_seconds():g}" for action, limit in deadlines.items()}
    )


@dataclass(frozen=True, kw_only=True)
class OperationSettings:
    """Operations and stored data."""

    engine: str = setting(
        "VMAPI_ENGINE",
        one_of(ENGINES, "thread, worker or celery"),
        "thread",
        "What runs operations: a thread of each serving process (`thread`), or processes of "
        "`vmapi worker` that scan the database (`worker`) or that a message broker "
        "wakes (`celery`).",
    )
    broker_url: str = setting(
        "VMAPI_BROKER_URL",
        matching(BROKER_URL, "amqp://USER:PASSWORD@HOST:PORT/VHOST, percent-encoded"),
        "amqp://guest:guest@127.0.0.1:5672//",
        "For `celery`: the message broker.",
        is_secret=True,
    )
    database_url: str | None = setting(
        "VMAPI_DATABASE_URL",
        matching(
            rf"(sqlite:///.+|{POSTGRESQL_URL})",
            "sqlite:////PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME, percent-encoded",
        ),
        "",
        "The database of operations, inventory, events and audit trail. Unset: SQLite in "
        "`instance/vmapi.sqlite3`; for the memory cloud a temporary file of the process.",
        example="postgresql+psycopg://vmapi:PASSWORD@127.0.0.1/vmapi",
        is_secret=True,
    )
    deadlines: Mapping[Action, timedelta] = setting(
        "VMAPI_DEADLINES",
        ValueFormat(
            f"ACTION=SECONDS,… ({MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS}) with "
            f"{', '.join(Action)} and {WILDCARD} (the rest)",
            parse_deadlines,
            render_deadlines,
        ),
        DEFAULT_DEADLINES,
        "Time after which an unfinished operation fails with `operation_timeout`.",
    )
    retention: timedelta = setting(
        "VMAPI_RETENTION",
        duration("days", 3650),
        "30",
        "How long operations are stored after they finish.",
    )
    event_retention: timedelta = setting(
        "VMAPI_EVENT_RETENTION",
        duration("hours", 720),
        "24",
        "How long events are stored for clients that reconnect.",
    )
    audit_retention: timedelta = setting(
        "VMAPI_AUDIT_RETENTION",
        duration("days", 3650),
        "365",
        "How long entries of the audit trail are stored, and API tokens that were revoked or have "
        "expired.",
    )
    audit_key: str | None = setting(
        "VMAPI_AUDIT_KEY",
        matching("(?s:.{32,})", "a text of 32 characters or more"),
        "",
        "The key of the hash chain over the audit trail, the same in all processes. "
        "Unset: no chain.",
        is_secret=True,
    )
    audit_old_keys: str | None = setting(
        "VMAPI_AUDIT_OLD_KEYS",
        matching(r"[^\n]{32,}(\n+[^\n]{32,})*", "texts of 32 characters or more, one a line"),
        "",
        "Earlier values of `VMAPI_AUDIT_KEY`, one a line. Entries of the audit trail verify with "
        "each of them.",
        is_secret=True,
    )
