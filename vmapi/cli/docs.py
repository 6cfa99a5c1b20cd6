"""`docs`: print the pages of the documentation that are generated from the code."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from inspect import cleandoc
from itertools import chain

import click
from flask import current_app

from vmapi.api.openapi.permission_table import authorization_table
from vmapi.api.problems.reference import render_problem_reference
from vmapi.api.views.graphql import NOT_INSTALLED_DETAIL
from vmapi.cli.command import OperatorCommand
from vmapi.cli.serve import serve
from vmapi.settings.reference import env_example, settings_reference
from vmapi.telemetry.messages.reference import logs_reference
from vmapi.telemetry.metrics.reference import metrics_reference

COMMANDS_INTRODUCTION = """\
# Commands

All pages write `vmapi COMMAND`. An installed command needs the settings of the server:
[how to](../how-to/connect-a-cloud.md#run-a-command-as-the-service). In a checkout, write
`.venv/bin/python -m vmapi COMMAND`, or `.venv/bin/flask --app wsgi COMMAND` for all except `serve`.

Commands write data to stdout, and all else to stderr. `--json` prints a JSON document for scripts:
if the command fails before it has one, `{"error": REASON}`.

| Exit status | Meaning |
|---|---|
| 0 | done |
| 1 | refused or failed; the last line of stderr has the reason |
| 2 | a wrong option or argument |
| 3 | a setting is not allowed, or the current folder was deleted |
"""


AUTHORIZATION_INTRODUCTION = """\
# Authorization

The token of a caller carries one of three roles. Every endpoint requires one permission, and a role
has a fixed set of permissions. Without the permission the response is 403 `forbidden` with
`role_needed`, and the audit trail records the refusal. Without a valid token it is 401
`unauthenticated`. With `VMAPI_AUTH=none`, every caller is an admin.

Callers see and change the VMs of their project, admins those of all projects. Only commands on the
server create API tokens, never an endpoint.

A mutation of `POST /graphql` needs the permission of the same change in the REST API.

"""


def authorization_reference() -> str:
    """Return the reference page of roles, permissions and endpoints in Markdown."""
    return f"{AUTHORIZATION_INTRODUCTION}{authorization_table(current_app)}\n"


def commands_reference() -> str:
    """Return the reference page of all commands in Markdown."""
    commands = sorted({**current_app.cli.commands, str(serve.name): serve}.items())
    sections = [_sections(name, command) for name, command in commands if _is_ours(command)]
    return "\n".join([COMMANDS_INTRODUCTION, *chain.from_iterable(sections)])


def _is_ours(command: click.Command) -> bool:
    # flask-smorest adds a group of commands too
    return getattr(command.callback, "__module__", "").startswith("vmapi.")


def _sections(path: str, command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _sections(f"{path} {name}", command.commands[name])
        return
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    options = [param for param in command.params if isinstance(param, click.Option)]
    yield f"## {' '.join([path, *map(_argument, arguments)])}\n"
    yield f"{cleandoc(command.help or '')}\n"
    if options:
        yield "| Option | Default | Meaning |\n|---|---|---|"
        yield from map(_option_row, options)
        yield ""


def _argument(argument: click.Argument) -> str:
    if isinstance(argument.type, click.Choice):
        return "|".join(map(str, argument.type.choices))
    return str(argument.name).upper()


def _option_row(option: click.Option) -> str:
    choices = f": {', '.join(option.type.choices)}" if isinstance(option.type, click.Choice) else ""
    default = (
        "required" if option.required else f"`{option.default}`" if option.show_default else ""
    )
    return f"| `{option.opts[0]}` | {default} | {option.help}{choices} |"


def graphql_schema() -> str:
    """Return the GraphQL schema in its definition language. Raises ClickException."""
    if find_spec("strawberry") is None:
        raise click.ClickException(NOT_INSTALLED_DETAIL)
    from vmapi.api.graphql.schema import build_schema

    return f"{build_schema(introspection=True, is_caching=False).as_str()}\n"


PAGES: dict[str, Callable[[], str]] = {
    "settings": settings_reference,
    "problems": render_problem_reference,
    "commands": commands_reference,
    "authorization": authorization_reference,
    "metrics": metrics_reference,
    "logs": logs_reference,
    "schema": graphql_schema,
    "env": env_example,
}


@click.command(cls=OperatorCommand)
@click.argument("page", type=click.Choice(list(PAGES)))
def docs(page: str) -> None:
    """Print a generated page: `docs/reference/PAGE.md`.

    `env` is `config/.env.example`, and `schema` is `docs/reference/schema.graphql`.
    """
    click.echo(PAGES[page](), nl=False)
