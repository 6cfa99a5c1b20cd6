"""Every error has a code of its own, a place in the drawn tree, and a problem if HTTP shows it."""

import re

from vmapi import errors
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.errors import BackendUnavailable, ValidationFailed, VmapiError

NEVER_SHOWN = {"settings_error"}
"""Raised before anything is served."""


def below(cls: type[VmapiError]) -> list[type[VmapiError]]:
    return [found for sub in cls.__subclasses__() for found in (sub, *below(sub))]


EVERY = [cls for cls in below(VmapiError) if cls.__module__ == errors.__name__]
WITH_CODE = [cls for cls in EVERY if "code" in vars(cls)]


def test_codes_are_unique_and_snake_case() -> None:
    codes = [cls.code for cls in WITH_CODE]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_error_that_is_raised_has_a_code() -> None:
    bases = {cls for cls in EVERY if cls.__subclasses__()}
    assert {cls for cls in EVERY if cls not in WITH_CODE} == bases - set(WITH_CODE)


def test_every_code_is_a_problem_or_known_not_to_be() -> None:
    assert {cls.code for cls in WITH_CODE} == set(PROBLEM_TYPES) | NEVER_SHOWN


def test_the_tree_in_the_docstring_is_complete() -> None:
    drawn = re.findall(r"\b[A-Z]\w+\b", (errors.__doc__ or "").split("::")[1].split("HTTP")[0])
    assert sorted(drawn) == sorted(cls.__name__ for cls in [VmapiError, *EVERY])


def test_the_tree_in_the_docstring_is_right() -> None:
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


def test_by_code() -> None:
    assert {cls.code: errors.error_class(cls.code) for cls in WITH_CODE} == {
        cls.code: cls for cls in WITH_CODE
    }
    assert errors.error_class("no_such_code") is errors.BackendError


def test_validation_errors_are_listed() -> None:
    error = ValidationFailed("Bad.", ("/a", "first"), ("/b", "second"), hint="x")
    assert error.extra == {
        "errors": [
            {"pointer": "/a", "message": "first"},
            {"pointer": "/b", "message": "second"},
        ],
        "hint": "x",
    }


def test_what_an_operation_keeps_of_an_error_makes_it_again() -> None:
    for cls in WITH_CODE:
        extra = {"hint": "x", "vm_id": "1", "errors": []}
        error = cls("why", **extra)
        again = errors.error_class(error.code)(error.detail, **error.extra)
        assert (type(again), again.detail, again.extra) == (cls, "why", error.extra)


def test_unavailable_says_when_to_come_back() -> None:
    assert BackendUnavailable("away").retry_after == 5
    assert BackendUnavailable("away", retry_after=9).retry_after == 9
