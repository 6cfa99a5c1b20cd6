"""/, /docs, /openapi.json and /problems: the documentation, all served by vmapi itself."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, redirect, request
from marshmallow import Schema, fields
from werkzeug.wrappers import Response as BaseResponse

from vmapi.api import responses
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.document import Api
from vmapi.api.openapi.permissions import PUBLIC, requires
from vmapi.api.problems.responses import with_base_path
from vmapi.api.problems.terms import ClientApi, translate_terms
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.versions import (
    ApiVersion,
    ApiVersions,
    current_base_path,
    current_version,
    current_versions,
)
from vmapi.api.schemas.fields import described
from vmapi.api.views.page_files import STATIC_FOLDER, send_document, send_page_file
from vmapi.errors import NotFound

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
    graphql_advice = fields.String(
        **described("The advice in the terms of the GraphQL API, where they differ.")
    )


class ProblemTypeListSchema(Schema):
    """The explanations of all problems."""

    items = fields.List(
        fields.Nested(ProblemTypeSchema), required=True, **described("All problems.")
    )


def problem_type_document(code: str) -> dict[str, str | int]:
    """Return the JSON members of a problem type, as in `ProblemTypeSchema`."""
    problem_type = PROBLEM_TYPES[code]
    advice = problem_type.explanation
    graphql_advice = translate_terms(advice, ClientApi.GRAPHQL)
    return {
        "code": code,
        "title": problem_type.title,
        "status": problem_type.status,
        "advice": with_base_path(advice),
        **({} if graphql_advice == advice else {"graphql_advice": graphql_advice}),
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


def register_version(app: Flask, api: Api, versions: ApiVersions, version: ApiVersion) -> None:
    """Register the OpenAPI document of a version, and the answers at its base path."""

    def openapi() -> Response:
        # unlike `request.root_url`, this accepts each host name
        origin = f"{request.scheme}://{request.host}"
        return send_document(api.to_json(origin), "application/json")

    views: dict[str, Callable[..., BaseResponse]] = {
        versions.document_path(version): openapi,
        version.base_path: base_index,
        f"{version.base_path}/": slashed_base_index,
    }
    for rule, view in views.items():
        endpoint = versions.endpoint(version, view.__name__)
        app.add_url_rule(rule, endpoint, requires(PUBLIC)(view))


def register_pages(app: Flask) -> None:
    """Register the documentation page and its assets."""
    views: dict[str, Callable[..., BaseResponse]] = {
        "/": index,
        "/docs": docs_page,
        "/docs/": slashed_docs_page,
        "/docs/assets/<name>": docs_asset,
        "/docs/reference/<name>.md": reference_page,
    }
    for rule, view in views.items():
        app.add_url_rule(rule, view_func=requires(PUBLIC)(view))


def docs_page() -> Response:
    """Send the documentation page."""
    return send_page_file(STATIC_FOLDER, "docs.html")


def slashed_docs_page() -> BaseResponse:
    """Redirect to the URL without the slash.

    The page uses relative URLs, so that a proxy can serve it below a prefix.
    """
    return redirect("../docs", 308)


def docs_asset(name: str) -> Response:
    """Send a script, a stylesheet or an icon of the page. Raises NotFound."""
    if name not in DOCS_ASSETS:
        raise NotFound(f"No resource has the URL /docs/assets/{name}.")
    return send_page_file(STATIC_FOLDER / "swagger-ui", name, max_age=3600)


def reference_page(name: str) -> Response:
    """Send a page of the reference as plain text. Raises NotFound."""
    if name not in REFERENCE_PAGES:
        raise NotFound(f"No resource has the URL /docs/reference/{name}.md.")
    page = (REFERENCE_FOLDER / f"{name}.md").read_bytes()
    # browsers display plain text; some of them download text/markdown
    return send_document(page, "text/plain")


def index() -> BaseResponse:
    """Redirect a browser to the documentation page, and list the entry points to a program.

    The redirect is relative, so that a proxy can serve vmapi below a prefix.
    """
    # a client that accepts anything, such as curl, gets the first one
    media_type = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if media_type == "text/html":
        response: BaseResponse = redirect(f"{'../' * (request.path.count('/') - 1)}docs")
    else:
        paths = {path: f"/{path}" for path in ("docs", "openapi", "problems", "livez", "readyz")}
        paths["openapi"] = current_versions().document_path(current_version())
        response = responses.json_response({"api": current_base_path(), **paths})
    response.vary.add("Accept")
    return response


def base_index() -> BaseResponse:
    """Answer at the base path as at the root."""
    return index()


def slashed_base_index() -> BaseResponse:
    """Answer at the base path with a slash as at the root."""
    return index()
