"""Problem responses of the OpenAPI document: one component for each set of codes and headers."""

from collections.abc import Collection, Mapping
from typing import Any

from apispec import APISpec

from vmapi.api.openapi.headers import PROBLEM_HEADERS
from vmapi.api.problems.responses import PROBLEM_MEDIA_TYPE
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.problems.types import PROBLEM_TYPES


def document_problems(
    spec: APISpec,
    codes: Collection[str],
    headers: Mapping[str, tuple[str, ...]],
    variant: str,
) -> dict[str, str]:
    """Add the components of problem responses, and return their names by HTTP status.

    `headers` has the names of the headers by code. A component name consists of codes; `variant`
    ends it if the headers differ from those of a read.
    """
    # in the order of the table
    ordered = [code for code in PROBLEM_TYPES if code in codes]
    names = {}
    for status in sorted({PROBLEM_TYPES[code].status for code in ordered}):
        with_status = [code for code in ordered if PROBLEM_TYPES[code].status == status]
        is_variant = any(headers.get(code) != PROBLEM_HEADERS.get(code) for code in with_status)
        name = "-".join([*with_status, variant] if is_variant else with_status)
        if name not in spec.components.responses:
            spec.components.response(name, _build_response(with_status, headers))
        names[str(status)] = name
    return names


def _build_response(codes: list[str], headers: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    titles = (f"`{code}`: {PROBLEM_TYPES[code].title}." for code in codes)
    content = {"schema": ProblemSchema(), "examples": {code: code for code in codes}}
    header_names = {name: name for code in codes for name in headers.get(code, ())}
    return {
        "description": " ".join(titles),
        "content": {PROBLEM_MEDIA_TYPE: content},
        **({"headers": header_names} if header_names else {}),
    }
