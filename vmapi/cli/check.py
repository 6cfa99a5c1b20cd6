"""`check`: print the settings in effect, and whether database, cloud and Keystone answer."""

import click

from vmapi.cli.context import describe, services, settings
from vmapi.errors import IssuerUnavailable, StoreUnavailable, VmapiError
from vmapi.settings.settings import DECLARATIONS, Settings


@click.command()
def check() -> None:
    """Print the settings in effect, and ping the database, the cloud and Keystone.

    Exits with status 1 if one does not answer. Secrets are not printed.
    """
    for name, text in _effective_settings(settings()).items():
        _print_row(name, text)
    backend, failures = services().backend, []
    try:
        _ping_database()
    except StoreUnavailable as error:
        failures.append(describe(error))
    try:
        backend.ping()
    except VmapiError as error:
        failures.append(f"the cloud does not answer: {error.detail}")
    # after the ping, because the driver learns some of it from the response
    for name, text in backend.describe().items():
        _print_row(name, text)
    backend.close()
    if keystone := services().authenticator.keystone_validator:
        try:
            keystone.ping()
            _print_row("keystone", "answers")
        except IssuerUnavailable as error:
            reason = getattr(error, "reason", "")
            failures.append(f"Keystone, which validates tokens, does not answer: {reason}")
    if failures:
        raise click.ClickException("\n".join(failures))
    click.echo("the cloud answers")


def _ping_database() -> None:
    """Print whether the database answers. Raises StoreUnavailable.

    Creates no database: its files would belong to the user of this command.
    """
    store = services().store
    if store.is_temporary() or store.find_missing_file():
        _print_row("database", "does not exist yet: a server creates it")
        return
    try:
        store.ping()
    finally:
        store.close()
    _print_row("database", "answers")


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
