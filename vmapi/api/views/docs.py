"""/docs, /openapi.json and /problems: what there is to read. All of it is served from here."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, redirect, send_from_directory
from marshmallow import Schema, fields
from werkzeug.wrappers import Response as BaseResponse

from vmapi.api import responses as render
from vmapi.api.middleware.security_headers import DOCS_PAGE_HEADERS
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.document import Api
from vmapi.api.openapi.permissions import PUBLIC, requires
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.errors import NotFound

STATIC_FOLDER = Path(__file__).parents[1] / "static"
DOCS_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "init.js", "favicon-32x32.png")

problems = Blueprint("problems", "What each problem means and what to do about it")


class ProblemTypeSchema(Schema):
    """What a problem means."""

    code = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    advice = fields.String(required=True, metadata={"description": "What to do about it."})


@problems.get("/problems/<code>")
@problems.requires(PUBLIC)
@problems.answers(
    200,
    ProblemTypeSchema(),
    example={
        "code": "vm_locked",
        "title": PROBLEM_TYPES["vm_locked"].title,
        "status": 409,
        "advice": PROBLEM_TYPES["vm_locked"].advice,
    },
)
@problems.problems("not_found")
def get_problem(code: str) -> Response:
    """Explain a problem"""
    kind = PROBLEM_TYPES.get(code)
    if kind is None:
        raise NotFound(f"There is no problem {code}; there are {', '.join(PROBLEM_TYPES)}.")
    body = {"code": code, "title": kind.title, "status": kind.status, "advice": kind.advice}
    return render.json_response(body)


def init_app(app: Flask, api: Api) -> None:
    """Serve the pages."""

    def openapi() -> Response:
        return Response(api.to_json(), mimetype="application/json")

    def page() -> Response:
        return _with_page_headers(send_from_directory(STATIC_FOLDER, "docs.html"))

    def slashed() -> BaseResponse:
        # what the page refers to is relative, so that it can be served below a prefix
        return redirect("../docs", 308)

    def asset(name: str) -> Response:
        if name not in DOCS_ASSETS:
            raise NotFound(f"There is nothing at /docs/assets/{name}.")
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
