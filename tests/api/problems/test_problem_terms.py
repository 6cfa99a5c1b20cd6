"""The texts of problems have the terms of the API that the client uses."""

import re

import pytest

from tests.support.api_harness import ApiHarness
from vmapi.api.problems.terms import GRAPHQL_TERMS, ClientApi, translate_terms
from vmapi.api.problems.types import PROBLEM_TYPES

REST_TERM = re.compile(
    r"GET /|POST /|/api/|Idempotency-Key|Idempotent-|If-Match|ETag|Retry-After|ssh_keys"
)
TEXTS = {code: f"{item.explanation} {item.hint}" for code, item in PROBLEM_TYPES.items()}


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_text_for_graphql_has_no_term_of_the_rest_api(code: str) -> None:
    assert REST_TERM.findall(translate_terms(TEXTS[code], ClientApi.GRAPHQL)) == []


def test_each_term_is_in_a_text() -> None:
    texts = " ".join(TEXTS.values())
    assert [term for term in GRAPHQL_TERMS if term not in texts] == []


def test_explanation_has_the_advice_for_graphql_where_it_differs(harness: ApiHarness) -> None:
    problem = harness.client.get("/problems/precondition_failed").json
    assert problem["graphql_advice"] == (
        "The VM has none of the entity tags in `ifMatch`. vmapi changed nothing. "
        "Read the VM again, then decide and send its current `etag` in `ifMatch`."
    )
    assert "graphql_advice" not in harness.client.get("/problems/vm_locked").json
