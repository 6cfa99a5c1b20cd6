"""Pages made from the declarations of the settings: reference in Markdown, example of `.env`."""

from collections.abc import Iterator
from dataclasses import fields

from vmapi.settings.auth import AuthSettings
from vmapi.settings.cloud import CloudSettings
from vmapi.settings.declaration import Setting
from vmapi.settings.limits import LimitSettings
from vmapi.settings.memory import MemorySettings
from vmapi.settings.operations import OperationSettings
from vmapi.settings.server import ServerSettings

GROUPS = {
    "Server": ServerSettings,
    "Authentication": AuthSettings,
    "Cloud": CloudSettings,
    "Operations and stored data": OperationSettings,
    "Projects and limits": LimitSettings,
    "In-memory cloud": MemorySettings,
}

INTRODUCTION = """\
# Settings

vmapi reads its settings once, at the start. Sources, in order of precedence:

1. environment variables,
2. the file `.env` in the working directory ([config/.env.example](../../config/.env.example)),
3. the defaults.

An empty value counts as unset. An unknown name that begins with `VMAPI_`, or a value that is not
allowed, stops the start. The message names every such setting and its allowed values.
`vmapi check` prints the settings in effect.

A setting marked *secret* is never printed or logged. It may come from a file: set `NAME_FILE` to
the absolute path of the file instead of `NAME`. In URLs, percent-encode the characters of user
names and passwords other than letters, digits and `-._~`.
"""

ENV_INTRODUCTION = """\
# Settings of vmapi with their defaults. Copy this file to `.env` in the working directory of vmapi,
# or name it in EnvironmentFile= of systemd. docs/reference/settings.md explains each setting.
"""


def settings_reference() -> str:
    """Return the reference page of all settings in Markdown."""
    return "\n".join([INTRODUCTION, *_sections()])


def env_example() -> str:
    """Return an example of `.env` in which every setting has its default."""
    lines = [ENV_INTRODUCTION]
    for title, group in GROUPS.items():
        lines += [f"# {title}", *map(_env_line, _declared(group)), ""]
    return "\n".join(lines)


def _sections() -> Iterator[str]:
    for title, group in GROUPS.items():
        yield f"## {title}\n"
        yield "| Setting | Default | Allowed | Meaning |\n|---|---|---|---|"
        yield from map(_row, _declared(group))
        yield ""


def _row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    allowed = setting.format.allowed.replace("*", "\\*")
    meaning = f"{setting.meaning}{' *Secret.*' if setting.is_secret else ''}"
    return f"| `{setting.name}` | {default} | {allowed} | {meaning} |"


def _env_line(setting: Setting) -> str:
    if setting.default and not setting.is_secret:
        return f"{setting.name}={setting.default}"
    return f"#{setting.name}={setting.default or setting.example}"


def _declared(group: type) -> list[Setting]:
    return [item.metadata["setting"] for item in fields(group)]
