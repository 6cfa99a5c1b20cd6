"""The problem reference is complete. The tests of the command `docs` compare its page."""

import pytest

from vmapi.api.problems.reference import render_problem_reference
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.backends.openstack.servers.mapping import FAULT_PATTERNS


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_reference_explains_every_problem(code: str) -> None:
    problem_type = PROBLEM_TYPES[code]
    section = render_problem_reference().partition(f"\n## {code}\n")[2].partition("\n## ")[0]
    assert f"**{problem_type.title}** ({problem_type.status} " in section
    assert problem_type.meaning in section
    assert f"What to do: {problem_type.advice}" in section
    assert all(f"| `{name}` |" in section for name in problem_type.members)


def test_every_member_is_described() -> None:
    fields = ProblemSchema().fields
    assert all(field.metadata["description"] for field in fields.values())
    specific = {name for problem_type in PROBLEM_TYPES.values() for name in problem_type.members}
    assert specific <= set(fields)


def test_problems_of_a_vm_with_a_fault_have_its_hint() -> None:
    codes = {"backend_error", "build_failed", *(code for _, code, _ in FAULT_PATTERNS)}
    assert {code for code in codes if "hint" not in PROBLEM_TYPES[code].members} == set()
