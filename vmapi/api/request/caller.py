"""Who asks, and from where: what is known of that while a request is answered."""

from typing import cast

import structlog
from flask import g, request

from vmapi.domain.identity import Identity
from vmapi.domain.project import Scope

MAX_ADDRESS_CHARS = 64


def client_address() -> str:
    """Return from where the request came; "" for a unix socket."""
    return (request.remote_addr or "")[:MAX_ADDRESS_CHARS]


def current_identity() -> Identity:
    """Return who is asking, as far as the request was asked for that."""
    return cast(Identity, g.identity)


def set_identity(found: Identity) -> None:
    """Keep who is asking, for this request and its lines in the log."""
    g.identity = found
    structlog.contextvars.bind_contextvars(user=found.subject)


def current_user() -> str:
    """Return the name of who is asking."""
    return current_identity().subject


def current_project() -> str:
    """Return the project of who is asking: what is made is this one's."""
    return current_identity().project


def current_scope() -> Scope:
    """Return the project of which who is asking may see and change things; None for all."""
    return current_identity().scope


def cursor_scope() -> str:
    """Return which list this request is about, and whose: what a cursor is good for."""
    return f"{request.endpoint} {current_scope() or '*'}"
