"""The command `vmapi` of an installed vmapi, and `python -m vmapi`."""

import os

import click

from vmapi import __version__
from vmapi.cli.command import refuse_start
from vmapi.cli.commands import COMMANDS
from vmapi.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def main(context: click.Context) -> None:
    """Serve virtual machines over HTTP, and maintain the server.

    The settings come from the environment and from `.env` in the current folder.
    """
    check_folder()
    if context.invoked_subcommand == serve.name:
        return
    # the mark of a command for `logging.configure`, as Flask sets it: stdout has data only
    os.environ["FLASK_RUN_FROM_CLI"] = "true"
    # exits if a setting is not allowed
    from vmapi.wsgi import app

    context.with_resource(app.app_context())


def check_folder() -> None:
    """Exit if the current folder was deleted: nothing can be read from it or written to it."""
    try:
        os.getcwd()
    except FileNotFoundError:
        refuse_start("the current folder was deleted: change to another one")


for command in (serve, *COMMANDS):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="vmapi")
