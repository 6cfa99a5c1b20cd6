"""`start`, `stop`, `restart`, `pause`, `resume` and `delete`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from vmapi_client.cli.app import (
    CHANGE_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    App,
    command,
    key_option,
)
from vmapi_client.cli.bulk import BulkAction, as_deleted
from vmapi_client.cli.changes import ChangeKeys, Result, finish, label_vms, run_each
from vmapi_client.cli.exit_codes import combine_exit_codes
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.progress import Progress
from vmapi_client.cli.selection import (
    Selection,
    VMName,
    confirm,
    find_selected,
    selection_options,
)

if TYPE_CHECKING:
    from vmapi_client.models import VM
    from vmapi_client.sync.client import Client

VERBS = {
    "start": "starting",
    "stop": "stopping",
    "restart": "restarting",
    "pause": "pausing",
    "resume": "resuming",
    "delete": "deleting",
}


@dataclass(frozen=True)
class ActionOptions:
    """The options of an action."""

    wait: bool
    yes: bool
    dry_run: bool
    key: str | None
    output: OutputFormat
    restart_type: Any = None


def action_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the VMs and the options of an action to a command."""
    decorators = (
        click.argument("names", nargs=-1, type=VMName()),
        selection_options,
        click.option("--all", "select_all", is_flag=True, help="All VMs."),
        click.option("--yes", "-y", is_flag=True, help="Ask no question."),
        click.option("--dry-run", is_flag=True, help="List the VMs only."),
        click.option("--wait", is_flag=True, help="Wait until the action has ended."),
        key_option,
        output_option(VM_VIEW),
        click.pass_obj,
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def action_command(action: Any, text: str, *, extra: str = "") -> click.Command:
    """Declare the command of an action."""

    def run(
        app: App,
        /,
        *,
        names: tuple[str, ...],
        statuses: tuple[str, ...],
        pattern: str | None,
        older_than: timedelta | None,
        select_all: bool,
        selector: str | None,
        **options: Any,
    ) -> int:
        selection = Selection(names, statuses, pattern, older_than, select_all, selector)
        selection.check()
        return ActionRun(app, action, ActionOptions(**options)).run(selection)

    run.__doc__ = f"{text}\n\nVMs are named, or selected by options; then vmctl asks first."
    function: Callable[..., Any] = action_options(run)
    if action == "restart":
        choice = click.Choice(["soft", "hard"])
        kind = click.option("--type", "restart_type", type=choice, help="Default: soft.")
        function = kind(function)
    examples = f"vmctl {action} web-1 web-2 --wait\nvmctl {action} --name 'web-*' --yes\n{extra}"
    return command(action, examples=examples)(function)


class ActionRun:
    """One run of an action on selected VMs."""

    def __init__(self, app: App, action: Any, options: ActionOptions) -> None:
        self._app = app
        self._action = action
        self._options = options

    def run(self, selection: Selection) -> int:
        """Find the VMs, ask if options select them, and perform the action."""
        with self._app.build_client(READ_TIMEOUT_SECONDS) as client:
            vms, codes = find_selected(client, selection)
        if not vms:
            return combine_exit_codes(codes)
        if self._options.dry_run:
            print_records(vms, VM_VIEW, self._options.output)
            return combine_exit_codes([*codes, 0])
        if selection.has_filters:
            confirm(self._action, vms, yes=self._options.yes)
            self._app.start_deadline()
        if self._options.wait:
            self._app.require_deadline(CHANGE_TIMEOUT_SECONDS)
        with self._app.build_client(CHANGE_TIMEOUT_SECONDS) as client:
            return finish(self._change(client, vms), self._options.output, codes)

    def _change(self, client: "Client", vms: Sequence["VM"]) -> list[Result]:
        options = self._options
        progress = Progress(VERBS[self._action], len(vms), enabled=options.wait)
        if len(vms) > 1 and options.restart_type is None:
            deadline = self._app.deadline if options.wait else None
            return BulkAction(client, self._action, progress, deadline).run(vms, options.key)
        by_label = label_vms(vms)
        keys = ChangeKeys(options.key, len(vms))

        def send(label: str) -> "VM":
            return self._send(client, by_label[label], keys.of(label))

        return run_each(list(by_label), send, progress)

    def _send(self, client: "Client", vm: "VM", key: str | None) -> "VM":
        arguments: dict[str, Any] = {"wait": self._options.wait, "idempotency_key": key}
        if self._action == "delete":
            return client.vms.delete(vm, **arguments) or as_deleted(vm)
        if self._action == "restart":
            arguments["type"] = self._options.restart_type
        changed: VM = getattr(client.vms, self._action)(vm, **arguments)
        return changed


start: click.Command = action_command("start", "Start STOPPED VMs.")
stop: click.Command = action_command("stop", "Stop RUNNING or PAUSED VMs.")
restart: click.Command = action_command(
    "restart", "Restart RUNNING VMs.", extra="vmctl restart web-1 --type hard"
)
pause: click.Command = action_command("pause", "Pause RUNNING VMs.")
resume: click.Command = action_command("resume", "Resume PAUSED VMs.")
delete: click.Command = action_command(
    "delete",
    "Delete VMs.",
    extra="vmctl delete --selector 'run=1047,!keep' --older-than 1d --dry-run",
)
