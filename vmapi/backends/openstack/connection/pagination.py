"""Complete lists from services that return pages.

Nova API "Paginated collections", and the `marker` of Glance and Neutron. The catalog and the server
queries call `list_all`. Invariant: the result is the whole list, or an error.
"""

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from vmapi.backends.openstack.connection.endpoints import ServiceType
from vmapi.backends.openstack.connection.session import CloudSession, Json
from vmapi.backends.openstack.failures.errors import parsing
from vmapi.errors import BackendError, ValidationFailed

MAX_LIST_READS = 3
"""Reads of one list: each deleted marker costs one."""


def list_all(
    session: CloudSession,
    service: ServiceType,
    path: str,
    key: str,
    query: Mapping[str, str] | None = None,
) -> list[Json]:
    """Return all items of a list.

    When the last item of a page is deleted before the next page is read, the service refuses that
    marker and the read starts again. Raises BackendError when this happens too often.
    """
    for _ in range(MAX_LIST_READS):
        items = _read_pages(session, service, path, key, query or {})
        if items is not None:
            return items
    raise BackendError(f"The cloud's list of {key} changes faster than it can be read.")


def _read_pages(
    session: CloudSession, service: ServiceType, path: str, key: str, query: Mapping[str, str]
) -> list[Json] | None:
    """Return the items of all pages; None if a marker has been deleted."""
    items: list[Json] = []
    markers: list[str] = []
    while True:
        position = {"marker": markers[-1]} if markers else {}
        try:
            page = session.read(service, path, {**query, **position})
        except ValidationFailed:
            if markers:
                return None
            raise
        with parsing(service):
            items += [dict(item) for item in page[key]]
            marker = _next_marker(page, key)
        if marker is None:
            return items
        if marker in markers:
            raise BackendError(f"The cloud's list of {key} does not end: its pages repeat.")
        markers.append(marker)


def _next_marker(page: Json, key: str) -> str | None:
    """Return the marker of the next page.

    The rest of the link is ignored: behind a proxy its host and scheme are often wrong.
    """
    links = [link["href"] for link in page.get(f"{key}_links") or () if link["rel"] == "next"]
    link = links[0] if links else page.get("next")
    return parse_qs(urlsplit(link).query)["marker"][0] if link else None
