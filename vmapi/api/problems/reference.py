"""Render the reference of all problem types as Markdown, for `docs/reference/problems.md`.

The texts come from the table of problem types, the member descriptions from the problem schema.
"""

from http import HTTPStatus

from vmapi.api.problems.problem_type import ProblemType
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.problems.terms import ClientApi, translate_terms
from vmapi.api.problems.types import OPERATION_MEMBERS, PROBLEM_TYPES

INTRODUCTION = """\
# Problems

Every error response is a problem document (RFC 9457) with the media type
`application/problem+json`. Branch on `code`: it never changes. `title` and `detail` are texts for
people and may change. `GET /problems/{code}` explains one problem.
"""


def render_problem_reference() -> str:
    """Return the reference of all problem types as Markdown."""
    members = [name for name in ProblemSchema().fields if name not in _specific_members()]
    sections = [
        INTRODUCTION,
        f"## Members of every problem\n\n{_member_table(members)}",
        "If an operation ended with the problem, the problem also has these members:\n\n"
        + _member_table(list(OPERATION_MEMBERS)),
        f"## Overview\n\n{_overview_table()}",
        *(_problem_section(code, problem_type) for code, problem_type in PROBLEM_TYPES.items()),
    ]
    return "\n".join(sections)


def _specific_members() -> set[str]:
    return {name for problem_type in PROBLEM_TYPES.values() for name in problem_type.members}


def _member_table(names: list[str]) -> str:
    fields = ProblemSchema().fields
    rows = (f"| `{name}` | {fields[name].metadata['description']} |" for name in names)
    return "\n".join(["| Member | Meaning |", "|---|---|", *rows, ""])


def _overview_table() -> str:
    rows = (
        f"| {problem_type.status} | [`{code}`](#{code}) | {problem_type.title} |"
        for code, problem_type in sorted(PROBLEM_TYPES.items(), key=lambda item: item[1].status)
    )
    return "\n".join(["| Status | Code | Title |", "|---|---|---|", *rows, ""])


def _problem_section(code: str, problem_type: ProblemType) -> str:
    phrase = HTTPStatus(problem_type.status).phrase
    paragraphs = [
        f"## {code}",
        f"**{problem_type.title}** ({problem_type.status} {phrase})",
        problem_type.meaning,
        f"What to do: {problem_type.advice}",
    ]
    graphql_advice = translate_terms(problem_type.advice, ClientApi.GRAPHQL)
    if graphql_advice != problem_type.advice:
        paragraphs.append(f"In GraphQL: {graphql_advice}")
    if problem_type.members:
        paragraphs.append(f"Additional members:\n\n{_member_table(list(problem_type.members))}")
    return "\n\n".join(paragraphs).rstrip("\n") + "\n"
