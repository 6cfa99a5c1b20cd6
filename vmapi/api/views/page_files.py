"""Send pages and other documents that stay the same while the process runs."""

from collections.abc import Mapping
from pathlib import Path

from flask import Response, send_from_directory

from vmapi.api import responses
from vmapi.api.middleware.security_headers import DEFAULT_HEADERS, DOCS_PAGE_HEADERS
from vmapi.api.request.headers import if_none_match_matches
from vmapi.errors import MalformedRequest

STATIC_FOLDER = Path(__file__).parents[1] / "static"


def send_page_file(
    folder: Path,
    name: str,
    max_age: int | None = None,
    headers: Mapping[str, str] = DOCS_PAGE_HEADERS,
) -> Response:
    """Send a file of a page: 200, or 304 if `If-None-Match` has its ETag.

    werkzeug's own conditions would answer an `If-Match` with 412 and the page.
    """
    response = send_from_directory(folder, name, max_age=max_age, conditional=False)
    response.headers.update(headers)
    return apply_condition(response)


def send_document(body: bytes, media_type: str) -> Response:
    """Send a document: 200, or 304 if `If-None-Match` has its ETag, a hash of the body."""
    response = Response(body, mimetype=media_type)
    # a 304 has the headers of its 200 that a cache needs
    response.headers["Cache-Control"] = DEFAULT_HEADERS["Cache-Control"]
    response.add_etag()
    return apply_condition(response)


def apply_condition(response: Response) -> Response:
    """Return the response, or 304 if `If-None-Match` has its ETag. Raises MalformedRequest."""
    try:
        is_known = if_none_match_matches(response.headers["ETag"])
    except MalformedRequest:
        response.close()
        raise
    if is_known:
        response.close()
        return responses.no_content(304, dict(response.headers))
    return response
