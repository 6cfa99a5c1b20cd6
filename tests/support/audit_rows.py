"""The audit rows of an app."""

from typing import Any

from flask import Flask

from tests.support.audit_chain import list_rows


def audit_rows(app: Flask) -> list[Any]:
    """Return the rows of the audit log of an app."""
    store: Any = app.extensions["vmapi"].store
    return list_rows(store.database)
