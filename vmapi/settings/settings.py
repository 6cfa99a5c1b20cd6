"""Every setting of vmapi, typed: the environment first, then `.env`, then the defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from environs import Env, EnvError, ValidationError, validate

from vmapi.errors import SettingsError
from vmapi.settings import secret_files
from vmapi.settings.auth import AuthSettings
from vmapi.settings.cloud import CloudSettings
from vmapi.settings.field import setting
from vmapi.settings.parsing import PROJECT_NAME_PATTERN
from vmapi.settings.patterns import (
    BIND_ADDRESS,
    BROKER_URL,
    ORIGIN_PATTERN,
    POSTGRESQL_URL,
    REDIS_URL,
    is_loopback,
)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT_DEADLINES = "create=1800,*=600"
"""A cloud may have to fetch the image to the host before it can boot."""
RATE_SYNTAX = "N/second, N/minute or N/hour, several with ; between them, or off"
RATE_STORAGE_SYNTAX = "memory, or redis://:PASSWORD@HOST:PORT/NUMBER, percent-encoded"
ENGINES = ("thread", "worker", "celery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(AuthSettings, CloudSettings):
    """The configuration of one process. Secrets are left out of its repr."""

    backend: str = setting(
        "VMAPI_BACKEND",
        "memory",
        "memory, openstack, or the name of an entry point in the group vmapi.backends",
        check=validate.Regexp(r"[a-z][a-z0-9_-]*\Z"),
    )
    bind: str = setting(
        "VMAPI_BIND",
        "127.0.0.1:8000",
        "HOST:PORT or unix:/PATH",
        check=validate.Regexp(rf"{BIND_ADDRESS}\Z"),
    )
    workers: int | None = setting(
        "VMAPI_WORKERS", None, "a whole number from 1 to 64", "int", validate.Range(1, 64)
    )
    threads: int = setting(
        "VMAPI_THREADS", 8, "a whole number from 2 to 256", "int", validate.Range(2, 256)
    )
    api_version: str = setting(
        "API_VERSION", "v1", "v1, v2, …", check=validate.Regexp(r"v[1-9][0-9]{0,2}\Z")
    )
    log_level: str = setting(
        "LOG_LEVEL", "INFO", ", ".join(LOG_LEVELS), check=validate.OneOf(LOG_LEVELS)
    )
    engine: str = setting(
        "VMAPI_ENGINE", "thread", "thread, worker or celery", check=validate.OneOf(ENGINES)
    )
    broker_url: str = setting(
        "VMAPI_BROKER_URL",
        "amqp://guest:guest@127.0.0.1:5672//",
        "amqp://USER:PASSWORD@HOST:PORT/VHOST, percent-encoded",
        check=validate.Regexp(rf"{BROKER_URL}\Z"),
        secret=True,
    )
    database_url: str | None = setting(
        "VMAPI_DATABASE_URL",
        None,
        "sqlite:////PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME, percent-encoded",
        check=validate.Regexp(rf"(sqlite:///.+|{POSTGRESQL_URL})\Z"),
        secret=True,
    )
    deadlines: str = setting(
        "VMAPI_DEADLINES", DEFAULT_DEADLINES, "ACTION=SECONDS,… (docs/operations.md)"
    )
    retention: int = setting(
        "VMAPI_RETENTION", 30, "days, 1 to 3650", "int", validate.Range(1, 3650)
    )
    event_retention: int = setting(
        "VMAPI_EVENT_RETENTION", 24, "hours, 1 to 720", "int", validate.Range(1, 720)
    )
    event_streams: int = setting(
        "VMAPI_EVENT_STREAMS", 50, "a whole number from 1 to 128", "int", validate.Range(1, 128)
    )
    caller_streams: int = setting(
        "VMAPI_CALLER_STREAMS", 10, "a whole number from 1 to 128", "int", validate.Range(1, 128)
    )
    caller_waits: int | None = setting(
        "VMAPI_CALLER_WAITS", None, "a whole number from 1 to 128", "int", validate.Range(1, 128)
    )
    audit_retention: int = setting(
        "VMAPI_AUDIT_RETENTION", 365, "days, 1 to 3650", "int", validate.Range(1, 3650)
    )
    audit_key: str | None = setting(
        "VMAPI_AUDIT_KEY",
        None,
        "a text of 32 characters or more",
        check=validate.Length(min=32),
        secret=True,
    )
    proxies: int = setting(
        "VMAPI_PROXIES", 0, "a whole number from 0 to 8", "int", validate.Range(0, 8)
    )
    default_project: str = setting(
        "VMAPI_DEFAULT_PROJECT",
        "default",
        "a name of A-Za-z0-9._-",
        check=validate.Regexp(PROJECT_NAME_PATTERN),
    )
    quotas: str = setting("VMAPI_QUOTAS", "", "PROJECT:vms=N,vcpus=N,ram_mb=N;…")
    cors_origins: str = setting(
        "VMAPI_CORS_ORIGINS",
        "",
        "ORIGIN,… as browsers write them: https://console.example.org",
        check=validate.Regexp(rf"{ORIGIN_PATTERN}(, ?{ORIGIN_PATTERN})*\Z"),
    )
    rate_reads: str = setting("VMAPI_RATE_READS", "200/second", RATE_SYNTAX)
    rate_changes: str = setting("VMAPI_RATE_CHANGES", "50/second;1200/minute", RATE_SYNTAX)
    rate_address: str = setting("VMAPI_RATE_ADDRESS", "500/second", RATE_SYNTAX)
    rate_storage: str | None = setting(
        "VMAPI_RATE_STORAGE",
        None,
        RATE_STORAGE_SYNTAX,
        check=validate.Regexp(rf"{REDIS_URL}\Z"),
        secret=True,
    )

    @property
    def worker_count(self) -> int:
        """The number of worker processes to serve with."""
        return self.workers or (1 if self.backend == "memory" else 2)

    @property
    def wait_slots(self) -> int:
        """How many threads of a process may wait for operations, or for events."""
        return self.threads // 2

    @property
    def wait_slots_per_caller(self) -> int:
        """How many of one caller may wait for operations."""
        return self.caller_waits or max(1, self.wait_slots // 2)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins whose scripts may use the API from a browser."""
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin)

    @property
    def is_on_loopback(self) -> bool:
        """Whether only this machine can reach what we listen at."""
        return is_loopback(self.bind)

    @property
    def auth_schemes(self) -> tuple[str, ...]:
        """The ways in which callers may say who they are."""
        if self.auth is not None:
            return tuple(self.auth.split(","))
        return ("none",) if self.backend == "memory" and self.is_on_loopback else ("token",)

    @classmethod
    def load(cls, dotenv: Path = Path(".env")) -> "Settings":
        """Read the settings. `.env` is read into the environment, where OpenStack's SDK looks too.

        Raises SettingsError naming each setting that is unknown or bad, and what is allowed.
        """
        load_dotenv(dotenv)
        env = Env(eager=True)
        problems = _unknown_setting_problems(fields(cls))
        values: dict[str, Any] = {}
        for item in fields(cls):
            about = item.metadata
            name = about["name"]
            try:
                if about["secret"]:
                    values |= _load_secret(item.name, about)
                elif os.environ.get(name, "") != "":
                    values[item.name] = getattr(env, about["parse"])(name, validate=about["check"])
            except SettingsError as error:
                problems.append(error.detail)
            except EnvError:
                problems.append(f"{name} {os.environ[name]!r}: allowed is {about['allowed']}")
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(**values)


def _load_secret(field: str, about: Mapping[str, Any]) -> dict[str, str]:
    value, where = secret_files.read_secret(about["name"])
    try:
        if value and about["check"]:
            about["check"](value)
    except ValidationError:
        raise SettingsError(f"{where}: allowed is {about['allowed']}") from None
    return {field: value} if value else {}


def _unknown_setting_problems(declared: Any) -> list[str]:
    names = sorted(item.metadata["name"] for item in declared)
    allowed = ", ".join(name for name in names if name.startswith("VMAPI_"))
    files = {f"{item.metadata['name']}_FILE" for item in declared if item.metadata["secret"]}
    return [
        f"{name}: no such setting; those that begin with VMAPI_ are {allowed}"
        for name in sorted(os.environ)
        if name.startswith("VMAPI_") and name not in {*names, *files}
    ]
