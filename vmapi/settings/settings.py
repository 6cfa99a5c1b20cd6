"""All settings of a process, valid by construction.

Callers load them once at the start. Sources, in order of precedence: the environment, the file
`.env`, the defaults. Each setting is declared once, in the class of its subject.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
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
from vmapi.settings.secret_files import read_secret
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

    @classmethod
    def load(cls, dotenv: Path = Path(".env")) -> Self:
        """Load the settings from the environment and from `.env`.

        `.env` is copied into the environment, where the OpenStack SDK finds its variables.
        Raises SettingsError as `from_environ`.
        """
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
                    values[field_name] = declared.format.parse(text)
            except ValueError:
                problems.append(f"{source}: allowed is {declared.format.allowed}")
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(**values)


CLIENT_VARIABLES = (
    *("VMAPI_URL", "VMAPI_TOKEN", "VMAPI_TOKEN_FILE", "VMAPI_CA_FILE"),
    *("VMAPI_CONTEXT", "VMAPI_CONTEXTS_FILE"),
)
"""Variables of the Python library and of vmctl, which a shell may have exported."""

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
    known = ", ".join(name for name in names if name.startswith("VMAPI_"))
    return [
        f"{name}: no such setting; those that begin with VMAPI_ are {known}"
        for name in sorted(environ)
        if name.startswith("VMAPI_") and name not in accepted
    ]
