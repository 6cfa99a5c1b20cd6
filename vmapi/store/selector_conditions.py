"""Selectors as conditions of SQL on a JSON document with `metadata`."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, or_

from vmapi.domain.selector import Requirement, Selector


def build_selector_conditions(
    document: ColumnElement[Any], selector: Selector
) -> Iterator[ColumnElement[bool]]:
    """Yield the WHERE conditions that the metadata of a document meets a selector."""
    for requirement in selector.requirements:
        yield _build_condition(document["metadata"][requirement.key].as_string(), requirement)


def _build_condition(value: ColumnElement[Any], requirement: Requirement) -> ColumnElement[bool]:
    if requirement.values is None:
        return value.is_(None) if requirement.is_negated else value.is_not(None)
    if requirement.is_negated:
        return or_(value.is_(None), value.not_in(requirement.values))
    return value.in_(requirement.values)
