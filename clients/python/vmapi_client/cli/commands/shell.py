"""`completion` and `man`."""

from pathlib import Path

import click

from vmapi_client.cli.man import write_pages

SHELLS = ("bash", "zsh", "fish")
COMPLETION_VARIABLE = "_VMCTL_COMPLETE"


@click.command(
    "completion",
    epilog="\b\nExamples:\n"
    "  vmctl completion bash > ~/.local/share/bash-completion/completions/vmctl\n"
    '  vmctl completion zsh > "${fpath[1]}/_vmctl"\n'
    "  vmctl completion fish > ~/.config/fish/completions/vmctl.fish\n",
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def print_completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script for a shell."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None
    root = ctx.find_root()
    source = completion(root.command, {}, "vmctl", COMPLETION_VARIABLE)
    click.echo(completion.source_template % source.source_vars())


@click.command(
    "man",
    epilog="\b\nExamples:\n"
    "  vmctl man | man -l -\n"
    "  vmctl man --directory ~/.local/share/man/man1\n",
)
@click.option("--directory", metavar="FOLDER", help="Write one page a command.")
@click.pass_context
def write_man_pages(ctx: click.Context, directory: str | None) -> None:
    """Print or write the man pages.

    Without an option, the page of vmctl itself is printed.
    """
    root = ctx.find_root()
    pages = write_pages(root.command)
    if directory is None:
        click.echo(pages["vmctl"], nl=False)
        return
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / f"{name}.1").write_text(text, encoding="utf-8")
    click.echo(f"{len(pages)} pages in {folder}", err=True)
