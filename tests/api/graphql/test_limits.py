"""The limits of documents: each is named, with a remedy."""

import pytest
from graphql import get_introspection_query

from tests.support.api_harness import ApiHarness
from tests.support.graphql import send_document
from vmapi.api.graphql.documents.limits import (
    MAX_NESTED_SELECTIONS,
    MAX_TOKENS,
    MAX_VALIDATION_STEPS,
)


def chained_fragment(number: int) -> str:
    return f"fragment F{number} on Query {{ ...F{number + 1} }} "


def select(*selections: str) -> str:
    return f"{{ {' '.join(selections)} }}"


def nest(selection: str, levels: int) -> str:
    """Nest a selection into inline fragments."""
    return "{ ... " * levels + select(selection) + " }" * levels


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            select(*["__typename"] * (MAX_TOKENS - 2)),
            f"The validation of the document has more than {MAX_VALIDATION_STEPS} steps: it "
            "compares all fields of one name. Repeat fewer fields and fragments, or send several "
            "requests.",
        ),
        (
            select(*(f"vms(first: {n}) {{ totalCount }}" for n in range(1, 120))),
            "The document has more than 100 errors. Correct those above, then send it again.",
        ),
        (
            f"query ({' '.join(f'$v{n}: Boolean!' for n in range(60))})"
            + select(*(f"__typename @skip(if: $v{n})" for n in range(60))),
            "The variables have more than 50 errors. Correct those above, then send them again.",
        ),
        (
            "{ ...F0 } " + "".join(map(chained_fragment, range(245))),
            f"The document has {MAX_NESTED_SELECTIONS + 1} nested selections; the limit is "
            f"{MAX_NESTED_SELECTIONS}. Nest fewer levels, or send several requests.",
        ),
        (
            select("...A", f"... {nest('...A', 60)}")
            + f"fragment A on Query {nest('__typename', 60)}",
            f"The document has 123 nested selections; the limit is {MAX_NESTED_SELECTIONS}. "
            "Nest fewer levels, or send several requests.",
        ),
        (
            nest("__typename", 250),
            "The document has more than 200 levels of brackets. Nest fewer levels, and send deep "
            "values as variables.",
        ),
        (
            select(*["__typename"] * MAX_TOKENS),
            f"The document has more than {MAX_TOKENS} tokens. Send several requests, and long "
            "lists as variables.",
        ),
    ],
    ids=["steps", "errors", "variables", "fragments", "spreads", "brackets", "tokens"],
)
def test_limit_is_named_with_a_remedy(harness: ApiHarness, query: str, message: str) -> None:
    assert send_document(harness, query).json["errors"][-1]["message"] == message


def test_introspection_is_within_the_limits(harness: ApiHarness) -> None:
    query = get_introspection_query(input_value_deprecation=True, specified_by_url=True)
    assert send_document(harness, query).json["data"]["__schema"]
