"""`context add`, `context use`, `context list` and `context remove`."""

import click

from vmapi_client.cli.app import complete_context
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.views import CONTEXT_VIEW
from vmapi_client.cli.parameters import Text
from vmapi_client.configuration import split_url
from vmapi_client.contexts import Context, ContextStore, make_absolute

CONTEXT_NAME: Text = Text("the name of a context")


@click.group("context")
def context() -> None:
    """Contexts: servers and tokens by name.

    They are in ~/.config/vmapi/contexts.json, with the mode 0600.
    """


@context.command("add", epilog="\b\nExamples:\n  vmctl context add prod https://vmapi.example.org")
@click.argument("name", type=CONTEXT_NAME)
@click.argument("url", type=Text("https://HOST[:PORT]"))
@click.option("--token-file", help="File with the token; it is read for each request.")
@click.option("--ca-file", help="Certificates to trust.")
@click.option("--use", "make_current", is_flag=True, help="Make it the current context.")
def add_context(
    name: str, url: str, token_file: str | None, ca_file: str | None, make_current: bool
) -> None:
    """Add or replace a context. 'vmctl login' adds a token."""
    split_url(url, "URL")
    store = ContextStore.from_environment()
    added = Context(name, url, None, make_absolute(token_file), make_absolute(ca_file))
    store.save(added, make_current=make_current)
    current, _ = store.load()
    click.echo(f"context {name} added{', current' if current == name else ''}", err=True)


@context.command("use", epilog="\b\nExamples:\n  vmctl context use prod")
@click.argument("name", type=CONTEXT_NAME, shell_complete=complete_context)
def use_context(name: str) -> None:
    """Make a context the current one."""
    ContextStore.from_environment().use(name)
    click.echo(f"context {name} is current", err=True)


@context.command("remove", epilog="\b\nExamples:\n  vmctl context remove test")
@click.argument("name", type=CONTEXT_NAME, shell_complete=complete_context)
def remove_context(name: str) -> None:
    """Remove a context with its token."""
    ContextStore.from_environment().remove(name)
    click.echo(f"context {name} removed", err=True)


@context.command("list", epilog="\b\nExamples:\n  vmctl context list")
@output_option(CONTEXT_VIEW)
def list_contexts(output: OutputFormat) -> None:
    """List contexts; tokens are never shown."""
    current, contexts = ContextStore.from_environment().load()
    rows = [
        {
            "current": "*" if name == current else None,
            "name": name,
            "url": item.url,
            "token": item.token_file or ("stored" if item.token else None),
        }
        for name, item in contexts.items()
    ]
    print_records(rows, CONTEXT_VIEW, output)
