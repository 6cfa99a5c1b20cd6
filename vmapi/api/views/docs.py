"""/docs, /openapi.json and /problems: the documentation, all served by vmapi itself."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, redirect, send_from_directory
from marshmallow import Schema, fields
from werkzeug.wrappers import Response as BaseResponse

from vmapi.api import responses
from vmapi.api.middleware.security_headers import DOCS_PAGE_HEADERS
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.document import Api
from vmapi.api.openapi.permissions import PUBLIC, requires
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.schemas.fields import described
from vmapi.errors import NotFound

STATIC_FOLDER = Path(__file__).parents[1] / "static"
DOCS_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "init.js", "favicon-32x32.png")

problems = Blueprint("problems", "Explanations of the problems")


class ProblemTypeSchema(Schema):
    """The explanation of a problem."""

    code = fields.String(required=True, **described("Code of the problem."))
    title = fields.String(required=True, **described("Summary for people."))
    status = fields.Integer(required=True, **described("HTTP status code."))
    advice = fields.String(
        required=True, **described("Cause of the problem, and next step of the client.")
    )


@problems.get("/problems/<code>")
@problems.requires(PUBLIC)
@problems.response(
    200,
    ProblemTypeSchema(),
    example={
        "code": "vm_locked",
        "title": PROBLEM_TYPES["vm_locked"].title,
        "status": 409,
        "advice": PROBLEM_TYPES["vm_locked"].explanation,
    },
)
@problems.problems("not_found")
def get_problem(code: str) -> Response:
    """Explain a problem"""
    problem_type = PROBLEM_TYPES.get(code)
    if problem_type is None:
        raise NotFound(f"No problem has the code {code}. The codes are {', '.join(PROBLEM_TYPES)}.")
    body = {
        "code": code,
        "title": problem_type.title,
        "status": problem_type.status,
        "advice": problem_type.explanation,
    }
    return responses.json_response(body)


def init_app(app: Flask, api: Api) -> None:
    """Register the OpenAPI document, the documentation page and its assets."""

    def openapi() -> Response:
        return Response(api.to_json(), mimetype="application/json")

    def page() -> Response:
        return _with_page_headers(send_from_directory(STATIC_FOLDER, "docs.html"))

    def slashed() -> BaseResponse:
        # the page uses relative URLs, so that a proxy can serve it below a prefix
        return redirect("../docs", 308)

    def asset(name: str) -> Response:
        if name not in DOCS_ASSETS:
            raise NotFound(f"No resource has the URL /docs/assets/{name}.")
        return _with_page_headers(
            send_from_directory(STATIC_FOLDER / "swagger-ui", name, max_age=3600)
        )

    views: dict[str, Callable[..., BaseResponse]] = {
        "/openapi.json": openapi,
        "/docs": page,
        "/docs/": slashed,
        "/docs/assets/<name>": asset,
    }
    for rule, view in views.items():
        app.add_url_rule(rule, view_func=requires(PUBLIC)(view))


def _with_page_headers(response: Response) -> Response:
    response.headers.update(DOCS_PAGE_HEADERS)
    return response
