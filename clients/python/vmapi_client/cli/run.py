"""Run a command, and turn errors into one line and an exit code."""

import re
import sys

import click

from vmapi_client.cli.exit_codes import (
    FAILED,
    SUCCESS,
    USAGE,
    describe_usage,
    exit_code_of,
    print_error,
)
from vmapi_client.cli.interrupts import (
    Interrupted,
    end_interrupted_line,
    end_process,
    raising_interrupts,
)
from vmapi_client.cli.output.standard_streams import (
    drop_data,
    prepare_streams,
    surviving_readers,
)
from vmapi_client.cli.program import vmctl
from vmapi_client.errors import VmapiError

SURROGATES = re.compile("[\ud800-\udfff]")
"""Bytes that Python could not decode."""


def run_program() -> int:
    """Run vmctl and return its exit code."""
    prepare_streams()
    if problem := find_unusable_argument():
        print_error(problem)
        return USAGE
    try:
        with raising_interrupts():
            return run_command()
    except Interrupted:
        end_interrupted_line()
        end_process()
    except (BrokenPipeError, SystemExit):
        # click makes a SystemExit of a BrokenPipeError, and of nothing else in this mode
        drop_data()
        return SUCCESS
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print_error(f"the output cannot be written: {place}{error.strerror}")
        # nothing is left to flush at the end
        drop_data()
        return FAILED


def run_command() -> int:
    """Run the command of the process, and report its error. Raises OSError."""
    try:
        code = vmctl.main(prog_name="vmctl", standalone_mode=False)
        with surviving_readers():
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        print_error(describe_usage(error))
        return error.exit_code
    except click.Abort:
        print_error("no confirmation: nothing was done")
        return FAILED
    except VmapiError as error:
        print_error(error)
        return exit_code_of(error)
    return code if isinstance(code, int) else SUCCESS


def find_unusable_argument() -> str | None:
    """Return why a command cannot run with its arguments and streams; None if it can."""
    if sys.stdout is None:
        return "stdout is closed: redirect it to /dev/null"
    undecodable = (argument for argument in sys.argv[1:] if SURROGATES.search(argument))
    argument = next(undecodable, None)
    return None if argument is None else f"{argument!a} is not UTF-8"
