"""`check`: print the settings in effect, and whether database, cloud and Keystone answer."""

from collections.abc import Iterator, Mapping

import click

from vmapi.cli.command import OperatorCommand
from vmapi.cli.context import services, settings
from vmapi.cli.output import as_json, print_fields, print_json
from vmapi.errors import IssuerUnavailable, StoreUnavailable, VmapiError
from vmapi.settings.settings import DECLARATIONS, Settings
from vmapi.telemetry.operator_text import operator_text

ANSWERS = "answers"


@click.command(cls=OperatorCommand)
@as_json
def check(is_json: bool) -> None:
    """Print the settings in effect, and ping the database, the cloud and Keystone.

    Exits with status 1 if one does not answer. Secrets are not printed.
    """
    texts, answers = effective_settings(settings()), dict[str, str]()
    if not is_json:
        # before the pings, which may take long
        print_fields(texts)
    failures = list(_check_dependencies(answers))
    if is_json:
        print_json({**texts, **answers, "failures": failures})
    else:
        print_fields(answers, max(map(len, texts)))
    if failures:
        raise click.ClickException("\n".join(failures))
    if not is_json:
        click.echo("the cloud answers")


def _check_dependencies(answers: dict[str, str]) -> Iterator[str]:
    """Add the answer of each dependency, and yield the failures of the others."""
    backend = services().backend
    try:
        answers["database"] = _ping_database()
    except StoreUnavailable as error:
        yield operator_text(error)
    try:
        backend.ping()
    except VmapiError as error:
        yield f"the cloud does not answer: {operator_text(error)}"
    # after the ping, because the driver learns some of it from the response
    answers.update(backend.describe())
    backend.close()
    if keystone := services().authenticator.keystone_validator:
        try:
            keystone.ping()
            answers["keystone"] = ANSWERS
        except IssuerUnavailable as error:
            reason = error.reason
            yield f"Keystone, which validates tokens, does not answer: {reason}"


def _ping_database() -> str:
    """Return the state of the database. Raises StoreUnavailable.

    Creates no database: its files would belong to the user of this command.
    """
    store = services().store
    store.check_creatable()
    if store.is_temporary() or store.find_missing_file():
        return "does not exist yet: a server creates it"
    try:
        store.ping()
    finally:
        store.close()
    return ANSWERS


def effective_settings(settings: Settings) -> dict[str, str]:
    """Return each setting as text, with computed defaults and without secrets."""
    computed: Mapping[str, object] = {
        "workers": settings.worker_count,
        "auth": settings.auth_schemes,
    }
    rows = {}
    for field_name, declared in DECLARATIONS.items():
        text = declared.render(computed.get(field_name, getattr(settings, field_name)))
        # a default is public: it is in the documentation
        is_hidden = declared.is_secret and text not in ("", declared.default)
        rows[declared.name] = "(set, hidden)" if is_hidden else text
    return rows
