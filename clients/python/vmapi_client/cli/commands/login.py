"""`login`."""

import sys
from dataclasses import replace

import click

from vmapi_client.cli.app import READ_TIMEOUT_SECONDS, App, command
from vmapi_client.configuration import check_token
from vmapi_client.contexts import Context, ContextStore, check_context_name, make_absolute
from vmapi_client.errors import ConfigurationError

DEFAULT_CONTEXT = "default"


@command(
    "login",
    examples="""
    vmctl login
    vmctl login --context prod < token.txt
    vmctl login --url https://vmapi.example.org
    """,
)
@click.pass_obj
def login(app: App) -> None:
    """Store a token in a context.

    The token is read from a prompt, or from stdin without a terminal. The server must accept it.
    With --url, the context has the name of --context, or `default`.
    """
    store = ContextStore.from_environment()
    context = choose_context(app, store)
    token = read_token()
    check_with_server(context, token, app.timeout_seconds or READ_TIMEOUT_SECONDS)
    store.save(Context(context.name, context.url, token, None, context.ca_file))
    click.echo(f"token stored in the context {context.name}: {store.path}", err=True)


def choose_context(app: App, store: ContextStore) -> Context:
    """Return the context of the options, else the current one."""
    url, name = app.options.get("url"), app.options.get("context")
    ca_file = make_absolute(app.options.get("ca_file"))
    if url is not None:
        check_context_name(name or DEFAULT_CONTEXT)
        return Context(name or DEFAULT_CONTEXT, url, ca_file=ca_file)
    context = store.find(name)
    if context is None:
        raise ConfigurationError("No context: use --url URL, or run 'vmctl context add NAME URL'.")
    return context if ca_file is None else replace(context, ca_file=ca_file)


def read_token() -> str:
    """Read a token without an echo, or from stdin."""
    if sys.stdin.isatty():
        text = click.prompt("Token", hide_input=True, err=True)
    else:
        text = sys.stdin.readline()
    return check_token(str(text), "the input")


def check_with_server(context: Context, token: str, timeout: float) -> None:
    """Send a read with the token. Raises the error of a refusal."""
    from vmapi_client.sync.client import Client

    with Client(context.url, token, ca_file=context.ca_file, timeout=timeout) as client:
        next(client.vms.list(page_size=1), None)
