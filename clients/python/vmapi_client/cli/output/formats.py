"""The formats of `--output`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

PLAIN_KINDS = ("table", "wide", "json", "jsonl", "yaml", "name")
PLACEHOLDER = re.compile(r"\{\{\s*\.([\w.:-]+)\s*\}\}")


@dataclass(frozen=True)
class OutputFormat:
    """A format, with the columns or the template that it needs."""

    kind: str
    columns: tuple[str, ...] = ()
    template: str = ""


class OutputType(click.ParamType[OutputFormat]):
    """Parses the value of `--output`."""

    name = "format"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> OutputFormat:
        """Parse a format."""
        if isinstance(value, OutputFormat):
            return value
        kind, separator, argument = str(value).partition("=")
        if not separator and kind in PLAIN_KINDS:
            return OutputFormat(kind)
        if kind == "columns" and argument:
            return OutputFormat(kind, columns=tuple(argument.split(",")))
        if "{{" in value:
            template = argument if kind == "template" else str(value)
            return OutputFormat("template", template=template.replace("\\t", "\t"))
        kinds = ", ".join(PLAIN_KINDS)
        return self.fail(
            f"{value!r} is no format: use {kinds}, columns=name,status or "
            "'{{.name}} {{.status}}'",
            param,
            ctx,
        )

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Return the formats."""
        from click.shell_completion import CompletionItem

        kinds = (*PLAIN_KINDS, "columns=")
        return [CompletionItem(kind) for kind in kinds if kind.startswith(incomplete)]


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--output` to a command."""
    return click.option(
        "-o",
        "--output",
        type=OutputType(),
        default="table",
        show_default=True,
        help="table, wide, json, jsonl, yaml, name, columns=NAME,… or '{{.name}} {{.status}}'.",
    )(function)


def find_member(document: Any, path: str) -> Any:
    """Return a member by its dotted path, such as `metadata.env`; None without one."""
    for index, name in enumerate(parts := path.split(".")):
        if not isinstance(document, dict):
            return None
        rest = ".".join(parts[index:])
        if rest in document:
            return document[rest]
        document = document.get(name)
    return document


def fill_template(template: str, document: Any) -> str:
    """Replace the placeholders of a template."""
    return PLACEHOLDER.sub(lambda match: format_value(find_member(document, match[1])), template)


def format_value(value: Any, absent: str = "") -> str:
    """Return a value as one line of text without control characters."""
    if value is None:
        return absent
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(format_value(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={format_value(item)}" for key, item in value.items())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
