"""The rule for expand steps: older code serves during the step and after it.

A step creates tables and indexes, and adds columns that older code need not write. It writes no
row of an existing table. A contract step does the rest.
"""

import re
from typing import Any

CREATED_TABLE = re.compile(r"CREATE TABLE \"?(\w+)", re.IGNORECASE)
ADDED_COLUMN = re.compile(r"ALTER TABLE \S+ ADD COLUMN (.+)", re.IGNORECASE | re.DOTALL)
HARMLESS = re.compile(r"(SELECT|PRAGMA|SHOW|CREATE INDEX|COMMENT)\b", re.IGNORECASE)
WRITTEN_TABLE = re.compile(
    r"(?:CREATE UNIQUE INDEX \S+ ON|INSERT INTO|UPDATE|DELETE FROM|ALTER TABLE) \"?(\w+)",
    re.IGNORECASE,
)


class ExpandRuleViolation(Exception):
    """A statement of an expand step that would stop older code."""


class ExpandRule:
    """Checks the statements of the expand steps of one upgrade."""

    def __init__(self) -> None:
        self._created_tables = {"alembic_version"}

    def check_statement(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        """Raise ExpandRuleViolation for a statement that would stop older code."""
        text = " ".join(statement.split())
        if created := CREATED_TABLE.match(text):
            self._created_tables.add(created[1])
        elif not self._may_run(text):
            raise ExpandRuleViolation(f"belongs into a contract step: {text}")

    def _may_run(self, text: str) -> bool:
        if HARMLESS.match(text):
            return True
        if written := WRITTEN_TABLE.match(text):
            if written[1] in self._created_tables:
                return True
            column = ADDED_COLUMN.match(text)
            return column is not None and _may_be_omitted(column[1].upper())
        return False


def _may_be_omitted(definition: str) -> bool:
    """Return whether an INSERT of older code may omit the column."""
    return "NOT NULL" not in definition or "DEFAULT" in definition
