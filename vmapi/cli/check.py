"""`check`: print the settings in effect, and whether the cloud answers."""

import click

from vmapi.cli.context import services, settings
from vmapi.errors import VmapiError
from vmapi.settings.settings import DECLARATIONS, Settings


@click.command()
def check() -> None:
    """Print the settings in effect and ping the cloud.

    Exits with status 1 if the cloud does not answer. Secrets are not printed.
    """
    for name, text in _effective_settings(settings()).items():
        _print_row(name, text)
    backend, failure = services().backend, ""
    try:
        backend.ping()
    except VmapiError as error:
        failure = error.detail
    # after the ping, because the driver learns some of it from the response
    for name, text in backend.describe().items():
        _print_row(name, text)
    backend.close()
    if failure:
        raise click.ClickException(f"the cloud does not answer: {failure}")
    click.echo("the cloud answers")


def _effective_settings(settings: Settings) -> dict[str, str]:
    """Return each setting as text, with computed defaults and without secrets."""
    computed = {"workers": settings.worker_count, "auth": settings.auth_schemes}
    rows = {}
    for field_name, declared in DECLARATIONS.items():
        text = declared.render(computed.get(field_name, getattr(settings, field_name)))
        # a default is public: it is in the documentation
        is_hidden = declared.is_secret and text not in ("", declared.default)
        rows[declared.name] = "(set, hidden)" if is_hidden else text
    return rows


def _print_row(name: str, text: str) -> None:
    click.echo(f"{name:<24} {text or '-'}")
