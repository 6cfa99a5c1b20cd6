"""Man pages (roff) made from the help of commands."""

import re
from collections.abc import Iterator

import click

from vmapi_client.cli.exit_codes import MEANINGS
from vmapi_client.cli.interrupts import INTERRUPTED_EXIT_CODE
from vmapi_client.version import __version__

ENVIRONMENT = (
    ("VMAPI_URL", "URL of the server."),
    ("VMAPI_TOKEN", "Token."),
    ("VMAPI_TOKEN_FILE", "File with the token; it is read for each request."),
    ("VMAPI_CA_FILE", "Certificates to trust."),
    ("VMAPI_CONTEXT", "Context to use, if VMAPI_URL is not set."),
    ("VMAPI_CONTEXTS_FILE", "File of the contexts."),
    ("NO_COLOR", "Print no colors."),
)


def write_pages(command: click.Command, name: str = "vmctl") -> dict[str, str]:
    """Return the page of a command and of all commands below it, by name."""
    context = click.Context(command, info_name=name.replace("-", " "))
    pages = {name: "\n".join(_page(command, context, name)) + "\n"}
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            item = command.get_command(context, child)
            assert item is not None
            pages |= write_pages(item, f"{name}-{child}")
    return pages


def _page(command: click.Command, context: click.Context, name: str) -> Iterator[str]:
    title, summary = name.upper(), command.get_short_help_str(200)
    yield f'.TH "{title}" "1" "" "vmctl {__version__}" "vmctl"'
    yield from (".SH NAME", f"{_escape(name)} \\- {_escape(summary)}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (".SH SYNOPSIS", f".B {_escape(context.info_name or name)}", _escape(usage))
    yield ".SH DESCRIPTION"
    for paragraph in (command.help or "").split("\n\n"):
        yield from (".PP", _escape(" ".join(paragraph.split())))
    yield from _options(command, context)
    if isinstance(command, click.Group):
        yield from _commands(command, context, name)
    yield from _examples(command.epilog or "")
    if name == "vmctl":
        yield from _definitions("ENVIRONMENT", dict(ENVIRONMENT))
        statuses = MEANINGS | {INTERRUPTED_EXIT_CODE: "interrupted by Ctrl-C"}
        yield from _definitions("EXIT STATUS", {str(k): v for k, v in statuses.items()})


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    yield from _definitions("OPTIONS", dict(record for record in records if record))


def _commands(command: click.Group, context: click.Context, name: str) -> Iterator[str]:
    children = {
        child: command.get_command(context, child) for child in command.list_commands(context)
    }
    pages = {
        f"{name}-{child}(1)": item.get_short_help_str(200)
        for child, item in children.items()
        if item is not None
    }
    yield from _definitions("COMMANDS", pages)


def _definitions(title: str, items: dict[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for term, text in items.items():
        yield from (".TP", f".B {_escape(term)}", _escape(text) or "\\&")


def _examples(epilog: str) -> Iterator[str]:
    lines = epilog.replace("\b", "").partition("Examples:")[2].strip("\n").splitlines()
    if lines:
        yield from (".SH EXAMPLES", ".nf", *(_escape(line.strip()) for line in lines), ".fi")


def _escape(text: str) -> str:
    """Escape roff: backslashes, hyphens, and a dot or quote at the begin of a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)
