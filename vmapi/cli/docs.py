"""`docs`: print the pages of the documentation that are generated from the code."""

from collections.abc import Callable, Iterator
from inspect import cleandoc
from itertools import chain

import click
from flask import current_app

from vmapi.api.openapi.permission_table import authorization_table
from vmapi.api.problems.reference import render_problem_reference
from vmapi.settings.reference import env_example, settings_reference

COMMANDS_INTRODUCTION = """\
# Commands

Run the commands as `flask --app wsgi COMMAND` in the directory of vmapi, with the settings of the
server: [how to](../how-to/connect-a-cloud.md#run-a-command-as-the-service). They exit with 0 after
success, with 1 after a failure, with 2 for a wrong option, and with 3 if a setting is not allowed.
"""


AUTHORIZATION_INTRODUCTION = """\
# Authorization

The token of a caller carries one of three roles. Every endpoint requires one permission, and a role
has a fixed set of permissions. Without the permission the response is 403 `forbidden` with
`role_needed`, and the audit trail records the refusal. Without a valid token it is 401
`unauthenticated`. With `VMAPI_AUTH=none`, every caller is an admin.

Callers see and change the VMs of their project, admins those of all projects. Only commands on the
server create API tokens, never an endpoint.

"""


def authorization_reference() -> str:
    """Return the reference page of roles, permissions and endpoints in Markdown."""
    return f"{AUTHORIZATION_INTRODUCTION}{authorization_table(current_app)}\n"


def commands_reference() -> str:
    """Return the reference page of all commands in Markdown."""
    commands = sorted(current_app.cli.commands.items())
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


PAGES: dict[str, Callable[[], str]] = {
    "settings": settings_reference,
    "problems": render_problem_reference,
    "commands": commands_reference,
    "authorization": authorization_reference,
    "env": env_example,
}


@click.command()
@click.argument("page", type=click.Choice(list(PAGES)))
def docs(page: str) -> None:
    """Print a generated page: `docs/reference/PAGE.md`, or `config/.env.example` for `env`."""
    click.echo(PAGES[page](), nl=False)
