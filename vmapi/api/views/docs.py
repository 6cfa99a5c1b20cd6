"""/docs, /openapi.json and /problems: what there is to read. All of it is served from here."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, redirect, send_from_directory
from marshmallow import Schema, fields
from werkzeug.wrappers import Response as BaseResponse

from vmapi.api import responses as render
from vmapi.api.middleware.security_headers import PAGE
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.openapi.document import Api
from vmapi.api.openapi.permissions import ANYBODY, needs
from vmapi.api.problems.types import KINDS
from vmapi.errors import NotFound

STATIC = Path(__file__).parents[1] / "static"
ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "init.js", "favicon-32x32.png")

problems = Blueprint("problems", "What each problem means and what to do about it")


class ProblemPageSchema(Schema):
    """What a problem means."""

    code = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    advice = fields.String(required=True, metadata={"description": "What to do about it."})


@problems.get("/problems/<code>")
@problems.needs(ANYBODY)
@problems.answers(
    200,
    ProblemPageSchema(),
    example={
        "code": "vm_locked",
        "title": KINDS["vm_locked"].title,
        "status": 409,
        "advice": KINDS["vm_locked"].advice,
    },
)
@problems.refuses("not_found")
def get_problem(code: str) -> Response:
    """Explain a problem"""
    kind = KINDS.get(code)
    if kind is None:
        raise NotFound(f"There is no problem {code}; there are {', '.join(KINDS)}.")
    body = {"code": code, "title": kind.title, "status": kind.status, "advice": kind.advice}
    return render.answer(body)


def init_app(app: Flask, api: Api) -> None:
    """Serve the pages."""

    def openapi() -> Response:
        return Response(api.rendered(), mimetype="application/json")

    def page() -> Response:
        return _secured(send_from_directory(STATIC, "docs.html"))

    def slashed() -> BaseResponse:
        # what the page refers to is relative, so that it can be served below a prefix
        return redirect("../docs", 308)

    def asset(name: str) -> Response:
        if name not in ASSETS:
            raise NotFound(f"There is nothing at /docs/assets/{name}.")
        return _secured(send_from_directory(STATIC / "swagger-ui", name, max_age=3600))

    views: dict[str, Callable[..., BaseResponse]] = {
        "/openapi.json": openapi,
        "/docs": page,
        "/docs/": slashed,
        "/docs/assets/<name>": asset,
    }
    for rule, view in views.items():
        app.add_url_rule(rule, view_func=needs(ANYBODY)(view))


def _secured(response: Response) -> Response:
    response.headers.update(PAGE)
    return response
