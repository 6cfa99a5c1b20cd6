"""The declaration of a setting, from which the loader, `check` and the reference page are made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ValueFormat(Generic[T]):
    """The text form of a value in the environment.

    `parse` raises ValueError for a text that is not allowed; `render` is its inverse.
    """

    #: Completes the sentence "allowed is …".
    allowed: str
    parse: Callable[[str], T]
    render: Callable[[T], str] = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its environment variable, its text form, its default and its meaning."""

    #: The environment variable.
    name: str
    format: ValueFormat[Any]
    #: As written in the environment; empty where the setting is unset by default.
    default: str
    #: Markdown for the reference page.
    meaning: str
    #: A plausible value of a setting that is unset by default, for `config/.env.example`.
    example: str
    #: Secrets are never shown, and may come from the file that NAME_FILE names.
    is_secret: bool

    def render(self, value: Any) -> str:
        """Return a value as written in the environment; empty for None."""
        return "" if value is None else self.format.render(value)


def setting(
    name: str,
    format: ValueFormat[Any],
    default: str,
    meaning: str,
    *,
    unset: object = None,
    example: str = "",
    is_secret: bool = False,
) -> Any:
    """Declare a dataclass field as a setting.

    `default` is text and passes the same parser as the environment. With an empty `default`
    the field has the value `unset`.
    """
    declared = Setting(
        name=name,
        format=format,
        default=default,
        meaning=meaning,
        example=example,
        is_secret=is_secret,
    )
    value = format.parse(default) if default else unset
    # a factory, because dataclasses refuse a mapping as a default
    return field(default_factory=lambda: value, repr=not is_secret, metadata={"setting": declared})
