"""All settings of a process, valid by construction.

Callers load them once at the start. Sources, in order of precedence: the environment, the file
`.env`, the defaults. Each setting is declared once, in the class of its subject.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from vmapi.concurrency.bulkhead import MAX_WAITING_REQUESTS
from vmapi.errors import SettingsError
from vmapi.settings.auth import AuthSettings
from vmapi.settings.cloud import CloudSettings
from vmapi.settings.declaration import Setting
from vmapi.settings.dotenv_file import load_dotenv_file
from vmapi.settings.limits import LimitSettings
from vmapi.settings.memory import MemorySettings
from vmapi.settings.operations import OperationSettings
from vmapi.settings.patterns import is_loopback
from vmapi.settings.secret_files import UnusableSecretLog, read_secret
from vmapi.settings.server import ServerSettings

FREE_THREADS = 8
"""Request threads for requests that wait for nothing, beyond half of `VMAPI_THREADS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(
    MemorySettings, CloudSettings, LimitSettings, OperationSettings, AuthSettings, ServerSettings
):
    """The settings of one process. Its repr has no secrets."""

    @property
    def worker_count(self) -> int:
        """The number of worker processes to serve with."""
        return self.workers or (1 if self.backend == "memory" else 2)

    @property
    def request_threads(self) -> int:
        """The number of request threads of a process.

        A dependency that hangs and waiting requests together leave some free.
        """
        return 2 * self.threads + MAX_WAITING_REQUESTS + FREE_THREADS

    @property
    def wait_slots(self) -> int:
        """The number of threads of a process that waiting requests may hold."""
        return self.threads // 2

    @property
    def wait_slots_per_caller(self) -> int:
        """The number of threads that the waiting requests of one caller may hold."""
        return self.caller_waits or max(1, self.wait_slots // 2)

    @property
    def is_on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.bind)

    @property
    def auth_schemes(self) -> tuple[str, ...]:
        """The ways in which callers may authenticate."""
        if self.auth:
            return self.auth
        return ("none",) if self.backend == "memory" and self.is_on_loopback else ("token",)

    def reread(self, field_name: str) -> Any:
        """Return the present value of a secret: its file may have been replaced.

        The value of the start counts if no file is named, or if the file has no valid value.
        """
        declared = DECLARATIONS[field_name]
        if os.environ.get(f"{declared.name}_FILE"):
            try:
                return declared.format.parse(read_secret(declared.name, os.environ)[0])
            except SettingsError as error:
                UNUSABLE_SECRETS.record(declared.name, error.detail)
            except ValueError:
                reason = f"{declared.name}_FILE: allowed is {declared.format.allowed}"
                UNUSABLE_SECRETS.record(declared.name, reason)
        return getattr(self, field_name)

    def read_audit_keys(self) -> tuple[str, ...]:
        """Return the present keys of the audit trail, the one for new entries first."""
        key = self.reread("audit_key")
        old_keys = self.reread("audit_old_keys") or ""
        return (key, *filter(None, old_keys.split("\n"))) if key else ()

    def reread_secrets(self) -> Self:
        """Return these settings with the present values of all secrets in files."""
        secrets = (name for name, declared in DECLARATIONS.items() if declared.is_secret)
        return replace(self, **{name: self.reread(name) for name in secrets})

    @classmethod
    def load(cls, dotenv: Path = Path(".env")) -> "Settings":
        """Load the settings from the environment and from `.env`.

        `.env` is copied into the environment, where the OpenStack SDK finds its variables.
        Once a server has started, only its secrets are read again: see `STARTED_SERVER`.
        Raises SettingsError as `from_environ`.
        """
        if (started := STARTED_SERVER.settings) is not None:
            STARTED_SERVER.settings = started.reread_secrets()
            return STARTED_SERVER.settings
        load_dotenv_file(dotenv)
        return cls.from_environ(os.environ)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Build the settings from environment variables.

        Raises SettingsError with each setting that is unknown or not allowed, in one message.
        """
        problems = _unknown_setting_problems(environ)
        values: dict[str, Any] = {}
        for field_name, declared in DECLARATIONS.items():
            try:
                text, source = _read_text(declared, environ)
            except SettingsError as error:
                problems.append(error.detail)
                continue
            try:
                if text:
                    # Python reads bytes that are not UTF-8 as lone surrogates (PEP 383)
                    text.encode()
                    values[field_name] = declared.format.parse(text)
            except UnicodeEncodeError:
                problems.append(f"{source}: not text in UTF-8")
            except ValueError:
                problems.append(f"{source}: allowed is {declared.format.allowed}")
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(**values)


class StartedServer:
    """The settings of the server that this process belongs to, as last read."""

    settings: Settings | None = None
    """None in other processes, and before the start."""


STARTED_SERVER = StartedServer()
"""The server of this process: gunicorn sets it, and its workers inherit it.

A worker that could not load its settings would end the server and all other workers.
"""

UNUSABLE_SECRETS = UnusableSecretLog(time.monotonic)
"""The log of the secrets of this process."""

CLIENT_VARIABLES = (
    *("VMAPI_URL", "VMAPI_TOKEN", "VMAPI_TOKEN_FILE", "VMAPI_CA_FILE"),
    *("VMAPI_CONTEXT", "VMAPI_CONTEXTS_FILE"),
)
"""Variables of the Python library and of vmctl, which a shell may have exported."""

MIN_SIMILARITY = 0.85
"""From 0 to 1: how similar an unknown setting is to the one that a message names."""

#: The declaration of each setting by the name of its field.
DECLARATIONS: Mapping[str, Setting] = {
    item.name: item.metadata["setting"] for item in fields(Settings)
}


def _read_text(declared: Setting, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the text of a setting, and how a message names its source."""
    if declared.is_secret:
        return read_secret(declared.name, environ)
    text = environ.get(declared.name, "")
    return text, f"{declared.name} {text!r}"


def _unknown_setting_problems(environ: Mapping[str, str]) -> list[str]:
    names = sorted(declared.name for declared in DECLARATIONS.values())
    files = {f"{declared.name}_FILE" for declared in DECLARATIONS.values() if declared.is_secret}
    accepted = {*names, *files, *CLIENT_VARIABLES}
    unknown = (name for name in sorted(environ) if name.startswith("VMAPI_"))
    return [
        f"{name}: no such setting; {_suggest_names(name, names)}"
        for name in unknown
        if name not in accepted
    ]


def _suggest_names(unknown: str, names: Sequence[str]) -> str:
    """Return the setting that was probably meant, or all with the same beginning."""
    without_prefix = unknown.removeprefix("VMAPI_")
    if without_prefix in names:
        # LOG_LEVEL, and the variables of the OpenStack SDK
        return f"its name is {without_prefix}"
    # loaded only where a start is refused
    from difflib import get_close_matches

    if similar := get_close_matches(unknown, names, 1, MIN_SIMILARITY):
        return f"{similar[0]} is similar"
    known = ", ".join(name for name in names if name.startswith("VMAPI_"))
    return f"those that begin with VMAPI_ are {known}"
