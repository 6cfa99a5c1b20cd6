"""/, /docs, /openapi.json and /problems: the documentation, all served by vmapi itself."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, redirect, request, send_from_directory
from marshmallow import Schema, fields
from werkzeug.wrappers import Response as BaseResponse

from vmapi.api import responses
from vmapi.api.middleware.security_headers import DOCS_PAGE_HEADERS
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.document import Api
from vmapi.api.openapi.permissions import PUBLIC, requires
from vmapi.api.problems.responses import with_base_path
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.conditional import if_none_match_matches
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import described
from vmapi.errors import NotFound

STATIC_FOLDER = Path(__file__).parents[1] / "static"
REFERENCE_FOLDER = Path(__file__).parents[3] / "docs" / "reference"
REFERENCE_PAGES = frozenset(path.stem for path in REFERENCE_FOLDER.glob("*.md"))
DOCS_ASSETS = (
    *("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"),
    *("init.js", "page.css"),
)

LOCKED_EXAMPLE = {
    "code": "vm_locked",
    "title": PROBLEM_TYPES["vm_locked"].title,
    "status": 409,
    "advice": PROBLEM_TYPES["vm_locked"].explanation,
}

problems = Blueprint("problems", "Explanations of the problems")


class ProblemTypeSchema(Schema):
    """The explanation of a problem."""

    code = fields.String(required=True, **described("Code of the problem."))
    title = fields.String(required=True, **described("Summary for people."))
    status = fields.Integer(required=True, **described("HTTP status code."))
    advice = fields.String(
        required=True, **described("Cause of the problem, and next step of the client.")
    )


class ProblemTypeListSchema(Schema):
    """The explanations of all problems."""

    items = fields.List(
        fields.Nested(ProblemTypeSchema), required=True, **described("All problems.")
    )


def problem_type_document(code: str) -> dict[str, str | int]:
    """Return the JSON members of a problem type, as in `ProblemTypeSchema`."""
    problem_type = PROBLEM_TYPES[code]
    return {
        "code": code,
        "title": problem_type.title,
        "status": problem_type.status,
        "advice": with_base_path(problem_type.explanation),
    }


@problems.get("/problems")
@problems.requires(PUBLIC)
@problems.response(200, ProblemTypeListSchema(), example={"items": [LOCKED_EXAMPLE]})
@problems.problems()
def list_problems() -> Response:
    """List the problems

    The list explains every `code` that a problem document can have.
    """
    return responses.json_response({"items": [*map(problem_type_document, PROBLEM_TYPES)]})


@problems.get("/problems/<code>")
@problems.requires(PUBLIC)
@problems.response(200, ProblemTypeSchema(), example=LOCKED_EXAMPLE)
@problems.problems("not_found")
def get_problem(code: str) -> Response:
    """Explain a problem

    The `type` of each problem document is the URL of its explanation.
    """
    if code not in PROBLEM_TYPES:
        raise NotFound(f"No problem has the code {code}. The codes are {', '.join(PROBLEM_TYPES)}.")
    return responses.json_response(problem_type_document(code))


def init_app(app: Flask, api: Api, base_path: str) -> None:
    """Register the OpenAPI document, the documentation page and its assets."""

    def openapi() -> Response:
        # unlike `request.root_url`, this accepts each host name
        origin = f"{request.scheme}://{request.host}"
        return Response(api.to_json(origin), mimetype="application/json")

    def page() -> Response:
        return _page_file(STATIC_FOLDER, "docs.html")

    def slashed() -> BaseResponse:
        # the page uses relative URLs, so that a proxy can serve it below a prefix
        return redirect("../docs", 308)

    def asset(name: str) -> Response:
        if name not in DOCS_ASSETS:
            raise NotFound(f"No resource has the URL /docs/assets/{name}.")
        return _page_file(STATIC_FOLDER / "swagger-ui", name, max_age=3600)

    views: dict[str, Callable[..., BaseResponse]] = {
        "/": index,
        base_path: base_index,
        f"{base_path}/": slashed_base_index,
        "/openapi.json": openapi,
        "/docs": page,
        "/docs/": slashed,
        "/docs/assets/<name>": asset,
        "/docs/reference/<name>.md": _reference_page,
    }
    for rule, view in views.items():
        app.add_url_rule(rule, view_func=requires(PUBLIC)(view))


def _reference_page(name: str) -> Response:
    if name not in REFERENCE_PAGES:
        raise NotFound(f"No resource has the URL /docs/reference/{name}.md.")
    page = (REFERENCE_FOLDER / f"{name}.md").read_bytes()
    # browsers display plain text; some of them download text/markdown
    return Response(page, mimetype="text/plain")


def index() -> BaseResponse:
    """Redirect a browser to the documentation page, and list the entry points to a program.

    The redirect is relative, so that a proxy can serve vmapi below a prefix.
    """
    # a client that accepts anything, such as curl, gets the first one
    media_type = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if media_type == "text/html":
        response: BaseResponse = redirect(f"{'../' * (request.path.count('/') - 1)}docs")
    else:
        paths = ("docs", "openapi.json", "problems", "livez", "readyz")
        entry_points = {path.partition(".")[0]: f"/{path}" for path in paths}
        response = responses.json_response({"api": current_services().base_path, **entry_points})
    response.vary.add("Accept")
    return response


def base_index() -> BaseResponse:
    """Answer at the base path as at the root."""
    return index()


def slashed_base_index() -> BaseResponse:
    """Answer at the base path with a slash as at the root."""
    return index()


def _page_file(folder: Path, name: str, max_age: int | None = None) -> Response:
    """Send a file of the page: 200, or 304 if `If-None-Match` has its ETag.

    werkzeug's own conditions would answer an `If-Match` with 412 and the page.
    """
    response = send_from_directory(folder, name, max_age=max_age, conditional=False)
    response.headers.update(DOCS_PAGE_HEADERS)
    if if_none_match_matches(response.headers["ETag"]):
        response.close()
        return responses.no_content(304, dict(response.headers))
    return response
