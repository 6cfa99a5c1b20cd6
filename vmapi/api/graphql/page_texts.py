"""The JSON of pages of VMs, rendered once for each document.

The read cache returns the same page object while no VM of the page changes. So a repeated document
needs the read of its page only. The REST list does the same.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import orjson
from cachetools import LRUCache

from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_services
from vmapi.domain.object_cache import ObjectCache
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.vm import VMQuery
from vmapi.errors import VmapiError

MAX_PAGE_READS = 256
MAX_DOCUMENTS_OF_PAGE = 2
"""The texts of a page in memory, one for each document. They end with the page."""

MAX_TEXT_BYTES_OF_VM = 1500
"""The size of a text for each VM of its page; a longer one is rendered each time."""


@dataclass(frozen=True, slots=True)
class PageRead:
    """The read of the only page of a document."""

    query: VMQuery
    page_request: PageRequest
    response_name: str


_texts: ObjectCache[Page[Any], dict[Hashable, bytes]] = ObjectCache(lambda _: {})
_lock = Lock()
_reads: LRUCache[Hashable, PageRead] = LRUCache(MAX_PAGE_READS)


def find_text(page: Page[Any], document_key: Hashable, response_name: str) -> bytes | None:
    """Return the JSON of a page in a document; None if it is to be rendered."""
    return _texts.get(page).get(_text_key(document_key, response_name))


def store_text(page: Page[Any], document_key: Hashable, response_name: str, text: bytes) -> None:
    """Store the JSON of a page in a document."""
    if len(text) > MAX_TEXT_BYTES_OF_VM * (len(page.items) + 1):
        return
    texts = _texts.get(page)
    with _lock:
        if len(texts) >= MAX_DOCUMENTS_OF_PAGE:
            del texts[next(iter(texts))]
        texts[_text_key(document_key, response_name)] = text


def store_read(document_key: Hashable, read: PageRead) -> None:
    """Store the read of a document with one page and no other field."""
    with _lock:
        _reads[document_key, current_scope()] = read


def read_again(document_key: Hashable) -> dict[str, Any] | None:
    """Return the data of a repeated document; None if it has to be executed."""
    with _lock:
        read = _reads.get((document_key, current_scope()))
    if read is None or document_key is None:
        return None
    services, expires_at = current_services(), read.page_request.expires_at
    if expires_at is not None and services.cursors.has_expired(expires_at):
        return None
    try:
        page = services.vms.list(read.query, read.page_request, current_scope()).page
    except VmapiError:
        # the execution describes the error
        return None
    text = find_text(page, document_key, read.response_name)
    return None if text is None else {read.response_name: orjson.Fragment(text)}


def _text_key(document_key: Hashable, response_name: str) -> Hashable:
    # the cursors of a page have the scope
    return document_key, response_name, current_scope()
