"""The names of the catalog that vmapi accepts, for errors about unknown names."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vmapi_client.cli.changes import Result
from vmapi_client.errors import (
    FlavorNotFound,
    ImageAmbiguous,
    ImageNotFound,
    NetworkAmbiguous,
    NetworkNotFound,
    VmapiError,
)

if TYPE_CHECKING:
    from vmapi_client.models import Flavor, Image, Network
    from vmapi_client.sync.client import Client

MAX_CHOICES = 10
CATALOG_TIMEOUT_SECONDS = 10.0

READERS: dict[str, Callable[["Client"], "Sequence[Flavor | Image | Network]"]] = {
    "flavor": lambda client: client.flavors(timeout=CATALOG_TIMEOUT_SECONDS),
    "image": lambda client: client.images(timeout=CATALOG_TIMEOUT_SECONDS),
    "network": lambda client: client.networks(timeout=CATALOG_TIMEOUT_SECONDS),
}
KINDS: dict[type[VmapiError], str] = {
    FlavorNotFound: "flavor",
    ImageNotFound: "image",
    ImageAmbiguous: "image",
    NetworkNotFound: "network",
    NetworkAmbiguous: "network",
}
AMBIGUOUS_ERRORS = (ImageAmbiguous, NetworkAmbiguous)


def add_choices(client: "Client", results: Sequence[Result]) -> list[Result]:
    """Add the accepted names to each result that failed because of a name in the catalog."""
    errors = {type(result.error): result.error for result in results if result.error is not None}
    advice: dict[type, str] = {
        cls: describe_choices(client, error) for cls, error in errors.items() if cls in KINDS
    }
    return [replace(result, advice=advice.get(type(result.error), "")) for result in results]


def describe_choices(client: "Client", error: VmapiError) -> str:
    """Return a sentence with the accepted names, or ids after an ambiguous name."""
    kind = KINDS[type(error)]
    command = f"'vmctl {kind} list -o wide'"
    try:
        items = READERS[kind](client)
    except VmapiError:
        return f"See {command}."
    shows_ids = isinstance(error, AMBIGUOUS_ERRORS)
    choices = [f"{item.name} {item.id}" if shows_ids else item.name for item in items]
    if not choices:
        return f"The cloud has no {kind}."
    rest = f", and {len(choices) - MAX_CHOICES} more" if len(choices) > MAX_CHOICES else ""
    return f"Accepted: {', '.join(choices[:MAX_CHOICES])}{rest}: see {command}."
