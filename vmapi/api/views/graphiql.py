"""/docs/graphiql: a page for GraphQL, where VMAPI_GRAPHQL allows it. It needs no internet."""

from flask import Flask, Response

from vmapi.api.middleware.security_headers import DOCS_PAGE_HEADERS
from vmapi.api.openapi.permissions import PUBLIC, requires
from vmapi.api.views.page_files import STATIC_FOLDER, send_page_file
from vmapi.errors import NotFound

GRAPHIQL_ASSETS = (
    *("graphiql.min.js", "graphiql.min.css", "init.js", "page.css"),
    *("react.production.min.js", "react-dom.production.min.js"),
)
DIALOG_STYLE_HASH = (
    "'sha256-Y/huXlwoYkVyQlxwSVcCi1RCDGDCSVBzDt0hYP9qlTc='"  # pragma: allowlist secret
)
"""The style that a dialog of GraphiQL inserts to lock the scroll bar."""

DOCS_PAGE_POLICY = DOCS_PAGE_HEADERS["Content-Security-Policy"]
# the stylesheet contains its fonts
GRAPHIQL_POLICY = f"{DOCS_PAGE_POLICY}; font-src data:".replace(
    "style-src 'self'", f"style-src 'self' {DIALOG_STYLE_HASH}"
)
GRAPHIQL_HEADERS = {**DOCS_PAGE_HEADERS, "Content-Security-Policy": GRAPHIQL_POLICY}


def register_graphiql(app: Flask, unavailable_detail: str | None) -> None:
    """Register the page and its assets: they answer 404 with a detail where they are off."""

    def graphiql_page() -> Response:
        if unavailable_detail is not None:
            raise NotFound(unavailable_detail)
        return send_page_file(STATIC_FOLDER, "graphiql.html", headers=GRAPHIQL_HEADERS)

    def graphiql_asset(name: str) -> Response:
        if unavailable_detail is not None or name not in GRAPHIQL_ASSETS:
            raise NotFound(unavailable_detail or f"No resource has the URL /docs/graphiql/{name}.")
        folder = STATIC_FOLDER / "graphiql"
        return send_page_file(folder, name, max_age=3600, headers=GRAPHIQL_HEADERS)

    app.add_url_rule("/docs/graphiql", view_func=requires(PUBLIC)(graphiql_page))
    app.add_url_rule("/docs/graphiql/<name>", view_func=requires(PUBLIC)(graphiql_asset))
