"""Run a command, and turn errors into one line and an exit code."""

import os
import sys

import click

from vmapi_client.cli.exit_codes import (
    FAILED,
    SUCCESS,
    describe_usage,
    exit_code_of,
    print_error,
)
from vmapi_client.cli.program import vmctl
from vmapi_client.errors import VmapiError

INTERRUPTED_EXIT_CODE = 130


def run_program() -> int:
    """Run vmctl and return its exit code."""
    try:
        code = vmctl.main(prog_name="vmctl", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        print_error(describe_usage(error))
        return error.exit_code
    except click.Abort as error:
        return end_early(error)
    except VmapiError as error:
        print_error(error)
        return exit_code_of(error)
    except BrokenPipeError:
        # the reader of the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS
    return code if isinstance(code, int) else SUCCESS


def end_early(error: click.Abort) -> int:
    """Return the exit code of a refused question; end the process after Ctrl-C."""
    if not isinstance(error.__cause__, KeyboardInterrupt):
        print_error("no confirmation: nothing was done")
        return FAILED
    print_error("interrupted")
    sys.stdout.flush()
    # threads with changes in progress would delay the end
    os._exit(INTERRUPTED_EXIT_CODE)
