"""vmapi with a view that fails while secrets are in its variables."""

from typing import Any, NoReturn

from flask import request

from wsgi import app


def crash() -> Any:
    """Fail with secrets in local variables, in arguments and in the exception before."""
    token = request.headers["Authorization"]
    held = {"token": token, "body": request.get_data(), "settings": app.config["SETTINGS"]}
    try:
        return fail(token, **held)
    except LookupError as error:
        raise RuntimeError("a defect") from error


def fail(secret: str, **held: object) -> NoReturn:
    """Fail."""
    raise LookupError(len(secret), sorted(held))


app.view_functions["bulk.act_on_vms"] = crash
