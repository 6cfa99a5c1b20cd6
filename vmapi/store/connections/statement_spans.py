"""Spans of SQL statements: their text with placeholders, and never a parameter."""

from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExecutionContext

from vmapi.telemetry.tracing.tracer import TRACER

MAX_STATEMENT_LENGTH = 1000
"""Characters of a statement in its span: a bulk insert has thousands of placeholders."""


def install(engine: Engine) -> None:
    """Record a span for each statement of a trace."""
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        event.listen(engine, name, _RecordedExecution(name))


class _RecordedExecution:
    """Executes statements in place of the dialect, with the same method of it."""

    def __init__(self, method_name: str) -> None:
        self._method_name = method_name

    def __call__(self, cursor: Any, statement: str, *args: Any) -> bool:
        """Execute a statement; return whether the dialect has nothing left to do."""
        context: ExecutionContext = args[-1]
        operation = statement.split(maxsplit=1)[0].rstrip(";").upper()
        if operation == "PRAGMA":
            # an option of a SQLite connection
            return False
        attributes = {
            "db.system.name": context.dialect.name,
            "db.operation.name": operation,
            "db.query.text": statement[:MAX_STATEMENT_LENGTH],
        }
        with TRACER.span(operation, attributes, "client"):
            getattr(context.dialect, self._method_name)(cursor, statement, *args)
        return True
