"""The option `--output`."""

from collections.abc import Callable
from typing import Any

import click

from vmapi_client.cli.output.formats import (
    PLACEHOLDER,
    PLAIN_KINDS,
    OutputFormat,
    find_unknown_placeholder,
)
from vmapi_client.cli.output.table import View


class OutputType(click.ParamType[OutputFormat]):
    """Parses the value of `--output`, and checks its members against those of a view."""

    name = "format"

    def __init__(self, view: View) -> None:
        self._view = view

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> OutputFormat:
        """Parse a format."""
        if isinstance(value, OutputFormat):
            return value
        chosen = self._parse(str(value), param, ctx)
        paths = (*chosen.columns, *PLACEHOLDER.findall(chosen.template))
        for path in paths:
            if (refusal := self._view.refuse_member(path)) is not None:
                self.fail(refusal, param, ctx)
        return chosen

    def _parse(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> OutputFormat:
        kind, separator, argument = value.partition("=")
        if not separator and kind in PLAIN_KINDS:
            return OutputFormat(kind)
        if kind == "columns" and argument:
            return OutputFormat(kind, columns=tuple(argument.split(",")))
        if "{{" in value:
            template = argument if kind == "template" else value
            unknown = find_unknown_placeholder(template)
            if unknown is not None:
                self.fail(
                    f"{unknown!r} is no placeholder: use members only, such as {{{{.name}}}}",
                    param,
                    ctx,
                )
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


def output_option(view: View) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds `--output` to a command that prints records of a view."""
    return click.option(
        "-o",
        "--output",
        type=OutputType(view),
        default="table",
        show_default=True,
        help="table, wide, json, jsonl, yaml, name, columns=NAME,… or '{{.name}} {{.status}}'.",
    )
