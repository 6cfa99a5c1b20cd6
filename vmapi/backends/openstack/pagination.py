"""Whole lists, whatever the size of a cloud's pages."""

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from vmapi.backends.openstack.endpoints import ServiceType
from vmapi.backends.openstack.errors import parsing
from vmapi.backends.openstack.session import CloudSession, Json
from vmapi.errors import BackendError, ValidationFailed

MAX_LIST_RESTARTS = 3


def list_all(
    session: CloudSession,
    service: ServiceType,
    path: str,
    key: str,
    params: Mapping[str, str] | None = None,
) -> list[Json]:
    """Return every item of a list, or raise: never a part.

    A page that begins after an item which has been deleted since is refused: the sweep starts over.
    """
    for _ in range(MAX_LIST_RESTARTS):
        items = _read_pages(session, service, path, key, params or {})
        if items is not None:
            return items
    raise BackendError(f"The cloud's list of {key} changes faster than it can be read.")


def _read_pages(
    session: CloudSession, service: ServiceType, path: str, key: str, params: Mapping[str, str]
) -> list[Json] | None:
    items: list[Json] = []
    seen: list[str] = []
    while True:
        at = {"marker": seen[-1]} if seen else {}
        try:
            page = session.read(service, path, {**params, **at})
        except ValidationFailed:
            if seen:
                return None
            raise
        with parsing(service):
            items += [dict(item) for item in page[key]]
            marker = _next_marker(page, key)
        if marker is None:
            return items
        if marker in seen:
            raise BackendError(f"The cloud's list of {key} does not end: its pages repeat.")
        seen.append(marker)


def _next_marker(page: Json, key: str) -> str | None:
    """Return the marker of the next page.

    Only the marker: behind a proxy, the link's host and scheme are often wrong.
    """
    links = [link["href"] for link in page.get(f"{key}_links") or () if link["rel"] == "next"]
    link = links[0] if links else page.get("next")
    return parse_qs(urlsplit(link).query)["marker"][0] if link else None
