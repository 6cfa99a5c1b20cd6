"""The audit trail of an app."""

from typing import Any

from flask import Flask

from tests.support.audit_chain import list_rows


def audit_rows(app: Flask) -> list[Any]:
    """Return the entries of the audit trail of an app."""
    store: Any = app.extensions["vmapi"].store
    return list_rows(store.database)
