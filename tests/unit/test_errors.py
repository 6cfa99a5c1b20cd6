"""The errors: unique codes, the tree in the docstring, and a problem type for each code."""

import re

from vmapi import errors
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.errors import BackendUnavailable, ValidationFailed, VmapiError

NOT_IN_HTTP = {"settings_error"}
"""Codes that no response has: the app does not start."""


def subclasses(cls: type[VmapiError]) -> list[type[VmapiError]]:
    return [
        descendant for child in cls.__subclasses__() for descendant in (child, *subclasses(child))
    ]


ALL_ERRORS = [cls for cls in subclasses(VmapiError) if cls.__module__ == errors.__name__]
WITH_CODE = [cls for cls in ALL_ERRORS if "code" in vars(cls)]


def test_codes_are_unique_and_snake_case() -> None:
    codes = [cls.code for cls in WITH_CODE]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_leaf_of_the_tree_has_a_code() -> None:
    bases = {cls for cls in ALL_ERRORS if cls.__subclasses__()}
    assert {cls for cls in ALL_ERRORS if cls not in WITH_CODE} == bases - set(WITH_CODE)


def test_every_code_has_a_problem_type() -> None:
    assert {cls.code for cls in WITH_CODE} == set(PROBLEM_TYPES) | NOT_IN_HTTP


def test_tree_in_the_docstring_is_complete() -> None:
    drawn = re.findall(r"\b[A-Z]\w+\b", (errors.__doc__ or "").split("::")[1].split("HTTP")[0])
    assert sorted(drawn) == sorted(cls.__name__ for cls in [VmapiError, *ALL_ERRORS])


def test_tree_in_the_docstring_shows_the_parents() -> None:
    tree = (errors.__doc__ or "").split("::")[1].split("HTTP")[0]
    parent = "VmapiError"
    for line in tree.splitlines():
        depth = len(line) - len(line.lstrip(" │├└─"))
        for name in re.findall(r"\w+", line):
            cls = getattr(errors, name)
            if depth == 8:
                parent, expected = name, "VmapiError"
            elif depth > 8:
                expected = parent
            else:
                expected = "Exception"
            assert expected in {base.__name__ for base in cls.__mro__[1:]}, name


def test_error_class_returns_the_class_of_a_code() -> None:
    assert {cls.code: errors.error_class(cls.code) for cls in WITH_CODE} == {
        cls.code: cls for cls in WITH_CODE
    }
    assert errors.error_class("no_such_code") is errors.BackendError


def test_validation_errors_are_listed_with_their_pointers() -> None:
    error = ValidationFailed("Bad.", ("/a", "first"), ("/b", "second"), hint="x")
    assert error.extra == {
        "errors": [
            {"pointer": "/a", "message": "first"},
            {"pointer": "/b", "message": "second"},
        ],
        "hint": "x",
    }


def test_error_can_be_rebuilt_from_code_detail_and_extra() -> None:
    for cls in WITH_CODE:
        extra = {"hint": "x", "vm_id": "1", "errors": []}
        error = cls("reason", **extra)
        rebuilt = errors.error_class(error.code)(error.detail, **error.extra)
        assert (type(rebuilt), rebuilt.detail, rebuilt.extra) == (cls, "reason", error.extra)


def test_unavailable_has_a_retry_after() -> None:
    assert BackendUnavailable("no response").retry_after == 5
    assert BackendUnavailable("no response", retry_after=9).retry_after == 9
