"""Iterators over all pages of a list."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from vmapi_client.core.calls.session import CallSession, M
from vmapi_client.core.exchange import Plan, Request


async def iterate_pages(
    session: CallSession,
    run: Callable[[Plan[Any]], Awaitable[Any]],
    model: type[M],
    request: Request,
    timeout: float | None,
) -> AsyncGenerator[M, None]:
    """Yield the items of a list, and read the next page when it is needed."""
    page: Request | None = request
    while page is not None:
        items, page = await run(session.read_page(model, page, timeout))
        for item in items:
            yield item
