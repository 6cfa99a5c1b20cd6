"""The command group of vmctl. It imports the module of a command when the command is run."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from vmapi_client.cli.app import GLOBAL_OPTIONS, App
from vmapi_client.cli.parameters import refuse_empty_texts
from vmapi_client.version import __version__

COMMANDS = {
    "list": ("vms:list_vms", "List VMs."),
    "show": ("vms:show_vms", "Show all members of VMs."),
    "create": ("create:create_vms", "Create VMs."),
    "start": ("actions:start", "Start STOPPED VMs."),
    "stop": ("actions:stop", "Stop RUNNING or PAUSED VMs."),
    "restart": ("actions:restart", "Restart RUNNING VMs."),
    "pause": ("actions:pause", "Pause RUNNING VMs."),
    "resume": ("actions:resume", "Resume PAUSED VMs."),
    "delete": ("actions:delete", "Delete VMs."),
    "update": ("update:update_vms", "Change the name or the metadata of VMs."),
    "console": ("vms:show_console", "Print the console output of a VM."),
    "wait": ("wait:wait_for_vms", "Wait until VMs have a status."),
    "watch": ("watch:watch_vms", "Show VMs as they change, until Ctrl-C."),
    "operation": ("operations:operation", "Operations: the records of changes."),
    "event": ("events:event", "Events: changes as they happen."),
    "flavor": ("catalog:flavor", "Flavors: the sizes of VMs."),
    "image": ("catalog:image", "Images that VMs boot from."),
    "network": ("catalog:network", "Networks of VMs."),
    "quota": ("catalog:show_quota", "Show usage and limits of the project."),
    "audit": ("audit:list_audit", "List the audit trail, the newest entry first."),
    "context": ("contexts:context", "Contexts: servers and tokens by name."),
    "login": ("login:login", "Store a token in a context."),
    "doctor": ("doctor:diagnose", "Check URL, proxy, certificate, token, clock and version."),
    "completion": ("shell:print_completion", "Print a completion script for a shell."),
    "man": ("shell:write_man_pages", "Print or write the man pages."),
}
"""Module, function and first line of the help of each command."""


class LazyGroup(click.Group):
    """A group with commands in modules that are imported late."""

    def __init__(
        self, *arguments: Any, table: Mapping[str, tuple[str, str]] = COMMANDS, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self._table:
            return None
        module, _, attribute = self._table[name][0].partition(":")
        command = getattr(import_module(f"vmapi_client.cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)
        refuse_empty_texts(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments. Raises NoSuchCommand with similar names."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # click knows only commands that are imported
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self._table, ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and first lines without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])


EPILOG = """\b
Examples:
  vmctl context add prod https://vmapi.example.org
  vmctl login
  vmctl create web-{1..3} --flavor m1.small --image debian-12 --start --wait
  vmctl list --status RUNNING
  vmctl delete --name 'web-*' --older-than 1d --wait
"""


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="vmctl")
@click.pass_context
def vmctl(ctx: click.Context) -> None:
    """Virtual machines on a vmapi server.

    Each change is made once, however often the network fails. A VM is named by its name or its
    id. Data goes to stdout, all else to stderr.
    """
    ctx.ensure_object(App)


vmctl.params.extend(GLOBAL_OPTIONS)
