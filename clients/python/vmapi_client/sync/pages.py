"""Iterators over all pages of a list."""

from collections.abc import Callable, Generator
from typing import Any

from vmapi_client.core.calls.session import CallSession, M
from vmapi_client.core.exchange import Plan, Request


def iterate_pages(
    session: CallSession,
    run: Callable[[Plan[Any]], Any],
    model: type[M],
    request: Request,
    timeout: float | None,
) -> Generator[M, None, None]:
    """Yield the items of a list, and read the next page when it is needed."""
    page: Request | None = request
    while page is not None:
        items, page = run(session.read_page(model, page, timeout))
        yield from items
