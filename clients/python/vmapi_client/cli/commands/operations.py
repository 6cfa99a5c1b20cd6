"""`operation list`, `operation show` and `operation wait`."""

from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import click

from vmapi_client.cli.app import App, command
from vmapi_client.cli.exit_codes import FAILED, SUCCESS, exit_code_of, print_error
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_record, print_records
from vmapi_client.cli.output.views import OPERATION_VIEW
from vmapi_client.cli.parameters import Count, OperationId
from vmapi_client.cli.selection import VMName, find_vm_id
from vmapi_client.core.replies import build_operation_error
from vmapi_client.models.operation import OperationAction, OperationStatus

if TYPE_CHECKING:
    from vmapi_client.models import Operation

WAIT_SECONDS = 600.0


@click.group("operation")
def operation() -> None:
    """Operations: the records of changes."""


@command(
    "list",
    examples="""
    vmctl operation list --status failed
    vmctl operation list --vm web-1 -o wide
    vmctl operation list --idempotency-key 'job-42 web-1' -o json
    """,
)
@click.option("--vm", "name", type=VMName(), help="Operations of one VM.")
@click.option("--action", type=click.Choice(get_args(OperationAction)))
@click.option("--status", type=click.Choice(get_args(OperationStatus)))
@click.option("--request-id", help="Operations of this request.")
@click.option(
    "--idempotency-key",
    help="Operations of changes with this key: of several VMs, 'KEY NAME' or 'KEY ID'.",
)
@click.option("--limit", type=Count(min=1), default=50, show_default=True)
@output_option(OPERATION_VIEW)
@click.pass_obj
def list_operations(
    app: App, /, *, name: str | None, limit: int, output: OutputFormat, **filters: Any
) -> None:
    """List operations, the newest first."""
    with app.build_client() as client:
        vm_id = None if name is None else find_vm_id(client, name)
        operations = client.operations.list(vm_id=vm_id, page_size=min(limit, 1000), **filters)
        print_records(islice(operations, limit), OPERATION_VIEW, output)


@command("show", examples="vmctl operation show 0e1fdaaa-7b5d-44c1-859f-170232c0e995 -o yaml")
@click.argument("operation_id", metavar="ID", type=OperationId())
@output_option(OPERATION_VIEW)
@click.pass_obj
def show_operation(app: App, /, *, operation_id: str, output: OutputFormat) -> None:
    """Show an operation."""
    with app.build_client() as client:
        print_record(client.operations.get(operation_id), OPERATION_VIEW, output)


@command(
    "wait",
    examples="vmctl operation wait 0e1fdaaa-7b5d-44c1-859f-170232c0e995 --timeout 5m",
)
@click.argument("operation_id", metavar="ID", type=OperationId())
@output_option(OPERATION_VIEW)
@click.pass_obj
def wait_for_operation(app: App, /, *, operation_id: str, output: OutputFormat) -> int:
    """Wait until an operation is finished.

    The exit code is the one of a command with the same error.
    """
    with app.build_client(WAIT_SECONDS) as client:
        finished = client.operations.wait(operation_id)
    print_record(finished, OPERATION_VIEW, output)
    return report_outcome(finished)


def report_outcome(finished: "Operation") -> int:
    """Print the error of an operation, and return its exit code."""
    if finished.status == "succeeded":
        return SUCCESS
    if finished.error is None:
        print_error(f"the operation is {finished.status}")
        return FAILED
    error = build_operation_error(finished.error, finished.request_id)
    print_error(error)
    return exit_code_of(error)


operation.add_command(list_operations)
operation.add_command(show_operation)
operation.add_command(wait_for_operation)
