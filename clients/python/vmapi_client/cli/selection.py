"""The VMs of a command: by name or id, or by filters."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from vmapi_client.cli.app import App
from vmapi_client.cli.exit_codes import NOT_FOUND, print_error
from vmapi_client.cli.output.formats import print_line
from vmapi_client.cli.parameters import Duration, StatusChoice, Text

if TYPE_CHECKING:
    from vmapi_client.models import VM
    from vmapi_client.sync.client import Client

STATUSES = ("BUILDING", "STOPPED", "RUNNING", "PAUSED", "ERROR")
LARGEST_PAGE = 1000
COMPLETION_SECONDS = 2.0
MAX_COMPLETIONS = 200
VM_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class VMName(Text):
    """The name or the id of a VM, with completion."""

    name = "vm"
    accepted = "the name or the id of a VM"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Return the VMs with a prefix; none if the server does not answer at once."""
        from click.shell_completion import CompletionItem

        from vmapi_client.errors import VmapiError
        from vmapi_client.sync.client import Client

        # the options may stand before and after the command
        options = ctx.find_root().ensure_object(App).options | ctx.ensure_object(App).options
        access: dict[str, Any] = {name: options.get(name) for name in ("url", "context", "ca_file")}
        try:
            with Client(**access, timeout=COMPLETION_SECONDS) as client:
                pattern = f"{incomplete}*" if incomplete else None
                vms = client.vms.list(name=pattern, sort="name", page_size=MAX_COMPLETIONS)
                chosen = [vm for vm, _ in zip(vms, range(MAX_COMPLETIONS), strict=False)]
        except VmapiError:
            return []
        return [CompletionItem(vm.name, help=vm.status) for vm in chosen]


@dataclass(frozen=True)
class Selection:
    """The options that select VMs."""

    names: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    pattern: str | None = None
    older_than: timedelta | None = None
    select_all: bool = False
    selector: str | None = None

    @property
    def has_filters(self) -> bool:
        """Whether a filter selects the VMs, and not their names."""
        filters = (self.selector, self.pattern, self.older_than)
        return any(value is not None for value in filters) or bool(self.statuses) or self.select_all

    def check_alternatives(self) -> None:
        """Raise UsageError if the options both name VMs and select them."""
        if self.names and self.has_filters:
            raise click.UsageError("Name VMs, or select them with options, not both.")

    def check(self) -> None:
        """Raise UsageError unless the options name VMs, or select them."""
        self.check_alternatives()
        if not self.names and not self.has_filters:
            raise click.UsageError(
                "Name at least one VM, or select VMs with --selector, --status, --name, "
                "--older-than or --all."
            )

    def find(self, client: "Client") -> Iterator["VM"]:
        """Yield the VMs that the filters select."""
        prefix = re.split(r"[*?\[]", self.pattern or "*", maxsplit=1)[0]
        exact = self.pattern is not None and prefix == self.pattern
        before = None
        if self.older_than is not None:
            # a wrong clock here must select no other VMs
            before = client.health().timestamp - self.older_than
        vms = client.vms.list(
            name=prefix if exact else f"{prefix}*",
            status=self.statuses or None,  # type: ignore[arg-type]  # checked by click
            created_before=before,
            selector=self.selector,
            sort="created_at",
            page_size=LARGEST_PAGE,
        )
        return (vm for vm in vms if self.pattern is None or fnmatchcase(vm.name, self.pattern))

    def matches(self, vm: "VM", at: datetime | None) -> bool:
        """Return whether a VM, which meets the selector, is one of the selection at a time."""
        if self.names:
            return vm.name in self.names or vm.id in self.names
        if self.older_than is not None and (at is None or at - vm.created_at < self.older_than):
            return False
        return (not self.statuses or vm.status in self.statuses) and (
            self.pattern is None or fnmatchcase(vm.name, self.pattern)
        )


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filters to a command: `statuses`, `pattern`, `older_than`, `selector`."""
    options = (
        click.option(
            "--selector",
            "-l",
            metavar="SELECTOR",
            help="VMs by metadata, such as 'env=prod,tier!=db,owner,!legacy,zone in (a,b)'.",
        ),
        click.option(
            "--status",
            "statuses",
            multiple=True,
            type=StatusChoice(STATUSES),
            help="VMs with this status; may be repeated.",
        ),
        click.option("--name", "pattern", metavar="PATTERN", help="VMs by name, such as 'web-*'."),
        click.option(
            "--older-than", type=Duration(), help="VMs created longer ago, such as 2h or 1d."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def may_be_id(text: str) -> bool:
    """Return whether a text has the form of an id. It may be a name, too."""
    return VM_ID.fullmatch(text) is not None


def find_vm(client: "Client", name: str) -> "VM":
    """Return the VM with an id or a name. Raises VmNotFound with similar names."""
    from vmapi_client.errors import VmNotFound

    missing: Exception | None = None
    if may_be_id(name):
        try:
            return client.vms.get(name)
        except VmNotFound as error:
            missing = error
    matches = list(client.vms.find(name)) if "*" not in name else []
    if len(matches) > 1:
        ids = ", ".join(vm.id for vm in matches)
        raise click.UsageError(f"Several VMs have the name {name!r}: use one of the ids {ids}.")
    if not matches:
        raise missing or build_not_found(client, name)
    return matches[0]


def find_vm_id(client: "Client", name: str) -> str:
    """Return the id of a VM, which may be one that is deleted. Raises VmNotFound."""
    from vmapi_client.errors import VmNotFound

    if not may_be_id(name):
        return find_vm(client, name).id
    with suppress(VmNotFound):
        return client.vms.get(name).id
    return next((vm.id for vm in client.vms.find(name)), name.lower())


def find_vms(client: "Client", names: Sequence[str]) -> tuple[list["VM"], list[int]]:
    """Return the VMs that exist, and an exit code for each missing one, with a line on stderr."""
    from vmapi_client.errors import VmNotFound

    vms: dict[str, VM] = {}
    codes: list[int] = []
    for name in names:
        try:
            vm = find_vm(client, name)
            vms[vm.id] = vm
        except VmNotFound as error:  # noqa: PERF203 - the other names are found
            print_error(error)
            codes.append(NOT_FOUND)
    return list(vms.values()), codes


def find_selected(client: "Client", selection: Selection) -> tuple[list["VM"], list[int]]:
    """Return the VMs of a selection as `find_vms` does; an empty one has a line on stderr."""
    if selection.names:
        return find_vms(client, selection.names)
    vms = list(selection.find(client))
    if not vms:
        print_line("vmctl: no VM is selected")
    return vms, []


def build_not_found(client: "Client", name: str) -> Exception:
    """Return the error of a missing VM; it names VMs with a similar name."""
    from difflib import get_close_matches
    from itertools import islice

    from vmapi_client.errors import VmNotFound
    from vmapi_client.models import Problem

    names = [vm.name for vm in islice(client.vms.list(page_size=LARGEST_PAGE), LARGEST_PAGE)]
    similar = get_close_matches(name, names, 3)
    hint = f" Similar names: {', '.join(similar)}." if similar else ""
    if "*" in name:
        hint = f" Select VMs with --name '{name}'."
    problem = Problem(
        type="/problems/vm_not_found",
        title="VM not found",
        status=404,
        code="vm_not_found",
        detail=f"No VM has the name {name!r}.{hint}",
    )
    return VmNotFound(problem)


def confirm(action: str, vms: Sequence["VM"], *, yes: bool) -> None:
    """List the VMs on stderr and ask. Raises UsageError without a terminal."""
    count = "1 VM" if len(vms) == 1 else f"{len(vms)} VMs"
    print_line(f"vmctl: {action} {count}:")
    for vm in vms:
        print_line(f"  {vm.name}  {vm.status}  {vm.id}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{action.capitalize()} {count}? Without a terminal, add --yes.")
    click.confirm(f"{action.capitalize()} {count}?", abort=True, err=True)
