"""The grammar of selectors: the accepted texts, and the place of each error."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.selectors import Condition, metadata, selectors
from vmapi.domain import selector as limits
from vmapi.domain.selector import Requirement, Selector, parse_selector

QUOTES = "; keys and values with other characters stand in double quotes."
AFTER_KEY = f"expected =, ==, !=, in, notin, a comma or the end{QUOTES}"
AFTER_VALUE = f"expected a comma or the end{QUOTES}"
KEY_RULE = "A key has 1 to 255 letters, digits, spaces or _ . : - characters."
QUOTE_RULE = 'A text in quotes ends with "; \\ precedes a " or a \\ in it.'


def any_of(key: str, *values: str) -> Requirement:
    return Requirement(key, frozenset(values))


def none_of(key: str, *values: str) -> Requirement:
    return Requirement(key, frozenset(values), is_negated=True)


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("env=prod", [any_of("env", "prod")]),
        ("env == prod", [any_of("env", "prod")]),
        ("env!=prod", [none_of("env", "prod")]),
        ("zone in (a,b)", [any_of("zone", "a", "b")]),
        ("zone notin(a , b)", [none_of("zone", "a", "b")]),
        ("owner", [Requirement("owner")]),
        ("! owner", [Requirement("owner", is_negated=True)]),
        ("b,a=1", [any_of("a", "1"), Requirement("b")]),
        ("a=1,a!=2,a", [any_of("a", "1"), none_of("a", "2"), Requirement("a")]),
        ('"cost center"="a, \\"b\\" \\\\"', [any_of("cost center", 'a, "b" \\')]),
        ("time=10:30,a:b", [any_of("time", "10:30"), Requirement("a:b")]),
        ("x=", [any_of("x", "")]),
        ('x=""', [any_of("x", "")]),
        ("x in (,a)", [any_of("x", "", "a")]),
        ("x notin ()", [none_of("x", "")]),
        ("in in (in,notin)", [any_of("in", "in", "notin")]),
        ("inner", [Requirement("inner")]),
        ("\n a\t", [Requirement("a")]),
    ],
)
def test_grammar_of_kubernetes_is_accepted(text: str, requirements: Sequence[Requirement]) -> None:
    assert parse_selector(text) == Selector(frozenset(requirements))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"Character 1: Found the end, expected a key{QUOTES}"),
        ("a,", f"Character 3: Found the end, expected a key{QUOTES}"),
        ("a,,b", f"Character 3: Found `,`, expected a key{QUOTES}"),
        ("!", f"Character 2: Found the end, expected a key{QUOTES}"),
        ("!a=b", "Character 3: Found `=`, expected a comma or the end."),
        ("a b", f"Character 3: Found `b`, {AFTER_KEY}"),
        ("a>1", f"Character 2: Found `>`, {AFTER_KEY}"),
        ('a in"b"', 'Character 5: Found `"`, expected (.'),
        ("a=b  see", f"Character 6: Found `see`, {AFTER_VALUE}"),
        ('a=b"c"', f'Character 4: Found `"`, {AFTER_VALUE}'),
        ("a='b'", f"Character 3: Found `'`, expected a value{QUOTES}"),
        ("a===b", f"Character 4: Found `=`, expected a value{QUOTES}"),
        ("a in b", "Character 6: Found `b`, expected (."),
        ("a in (b", f"Character 8: Found the end, expected a comma or ){QUOTES}"),
        ("a in (b c)", f"Character 9: Found `c`, expected a comma or ){QUOTES}"),
        (f"a {'x' * 30}", f"Character 3: Found `{'x' * 20}`, {AFTER_KEY}"),
        ("env=prod,app/name=x", f"Character 10: {KEY_RULE}"),
        (f"{'k' * 256}=x", f"Character 1: {KEY_RULE}"),
        ('""=x', f"Character 1: {KEY_RULE}"),
        ("vmapi.project=x", "Character 1: Keys that begin with vmapi. are reserved."),
        ('a="b', f"Character 3: {QUOTE_RULE}"),
        ('a="b\\c"', f"Character 3: {QUOTE_RULE}"),
        ("a=\0", "Character 3: A value has at most 255 characters and no NUL."),
        (f"a={'x' * 256}", "Character 3: A value has at most 255 characters and no NUL."),
        ("a" * 1001, "Must have at most 1000 characters."),
        (",".join("a" * 33), "Character 65: At most 32 requirements are allowed."),
        (f"a in ({',' * 100})", "Character 107: At most 100 values are allowed."),
    ],
)
def test_error_names_the_place_and_the_accepted_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parse_selector(text)
    assert str(error.value) == message


def test_selector_of_the_greatest_size_is_accepted() -> None:
    names = [f"a{number}" for number in range(limits.MAX_SELECTOR_REQUIREMENTS - 1)]
    values = "," * (limits.MAX_SELECTOR_VALUES - 1)
    text = f"{','.join(names)},b in ({values}"
    text = f"{text}{' ' * (limits.MAX_SELECTOR_CHARS - len(text) - 1)})"
    assert len(parse_selector(text).requirements) == limits.MAX_SELECTOR_REQUIREMENTS


@given(drawn=selectors(), pairs=metadata)
def test_selector_matches_as_a_plain_evaluation(
    drawn: tuple[str, Sequence[Condition]], pairs: Mapping[str, str]
) -> None:
    text, conditions = drawn
    expected = all(condition.evaluate(pairs) for condition in conditions)
    assert parse_selector(text).matches(pairs) == expected


@given(text=st.text(st.sampled_from("a,=!()\"\\ in'"), max_size=12))
def test_any_text_is_a_selector_or_an_error_with_its_place(text: str) -> None:
    with suppress(ValueError):
        parse_selector(text)
        return
    with pytest.raises(ValueError, match=r"\ACharacter [0-9]+: .+\.\Z"):
        parse_selector(text)
