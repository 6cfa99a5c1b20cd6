"""Selectors: conditions on the metadata of VMs, in the grammar of Kubernetes' label selectors.

    selector    = requirement *( "," requirement )
    requirement = key / "!" key / key ( "=" / "==" / "!=" ) [ value ]
                / key ( "in" / "notin" ) "(" [ value ] *( "," [ value ] ) ")"

A key or a value is a word, or a text in double quotes in which a backslash precedes a quote or a
backslash. A value that is left out is the empty value. White space may surround each part.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vmapi.domain.metadata import (
    MAX_METADATA_VALUE_CHARS,
    METADATA_KEY_PATTERN,
    METADATA_KEY_RULE,
    RESERVED_METADATA_PREFIX,
)

MAX_SELECTOR_CHARS = 1000
MAX_SELECTOR_REQUIREMENTS = 32
MAX_SELECTOR_VALUES = 100
"""The values of all requirements of a selector together."""

MAX_FOUND_CHARS = 20
"""Characters that an error quotes."""

KEY_RULE = f"A key has {METADATA_KEY_RULE}."
RESERVED_KEY_RULE = f"Keys that begin with {RESERVED_METADATA_PREFIX} are reserved."
VALUE_RULE = f"A value has at most {MAX_METADATA_VALUE_CHARS} characters and no NUL."
QUOTING_ADVICE = "; keys and values with other characters stand in double quotes"

WHITE_SPACE = re.compile(r"\s*")
WORD = re.compile(r"""[^\s,()=!<>"'\\]+""")
QUOTED_TEXT = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
ESCAPE = re.compile(r"\\(.)")
EQUALITY_OPERATOR = re.compile("==|=|!=")
SET_OPERATOR = re.compile(r"""(?:not)?in(?![^\s,()=!<>"'\\])""")


class SelectorError(ValueError):
    """A text is no selector. `offset` is the number of characters before the place."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on one key. Without `values`, it admits any value.

    A negated requirement also selects VMs without the key, as in Kubernetes.
    """

    key: str
    values: frozenset[str] | None = None
    is_negated: bool = False

    def matches(self, metadata: Mapping[str, str]) -> bool:
        """Return whether metadata meets the condition."""
        value = metadata.get(self.key)
        is_met = value is not None and (self.values is None or value in self.values)
        return is_met != self.is_negated


@dataclass(frozen=True, slots=True)
class Selector:
    """The requirements that a VM must meet, in any order."""

    requirements: frozenset[Requirement]

    def matches(self, metadata: Mapping[str, str]) -> bool:
        """Return whether metadata meets all requirements."""
        return all(requirement.matches(metadata) for requirement in self.requirements)


def parse_selector(text: str) -> Selector:
    """Return the selector. Raises SelectorError with a message for the client."""
    if len(text) > MAX_SELECTOR_CHARS:
        message = f"Must have at most {MAX_SELECTOR_CHARS} characters."
        raise SelectorError(message, MAX_SELECTOR_CHARS)
    return Selector(frozenset(_SelectorParser(text).parse()))


class _SelectorParser:
    """Reads a selector from left to right. Any method raises SelectorError."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._value_count = 0
        self._skip_white_space()

    def parse(self) -> list[Requirement]:
        """Return the requirements of the whole text."""
        requirements = [self._read_requirement()]
        while self._accept(","):
            if len(requirements) == MAX_SELECTOR_REQUIREMENTS:
                raise self._error(f"At most {MAX_SELECTOR_REQUIREMENTS} requirements are allowed.")
            requirements.append(self._read_requirement())
        return requirements

    def _read_requirement(self) -> Requirement:
        if self._accept("!"):
            requirement = Requirement(self._read_key(), is_negated=True)
            expected = "a comma or the end"
        else:
            requirement, expected = self._read_condition(self._read_key())
        if self._position < len(self._text) and self._text[self._position] != ",":
            raise self._unexpected(expected)
        return requirement

    def _read_condition(self, key: str) -> tuple[Requirement, str]:
        """Return the requirement of a key, and the parts that may follow it."""
        if operator := self._match(EQUALITY_OPERATOR):
            values = frozenset({self._read_value(",")})
        elif operator := self._match(SET_OPERATOR):
            values = self._read_values()
        else:
            return Requirement(key), f"=, ==, !=, in, notin, a comma or the end{QUOTING_ADVICE}"
        is_negated = operator in ("!=", "notin")
        return Requirement(key, values, is_negated), f"a comma or the end{QUOTING_ADVICE}"

    def _read_key(self) -> str:
        position = self._position
        key = self._read_text()
        if key is None:
            raise self._unexpected(f"a key{QUOTING_ADVICE}")
        if re.fullmatch(METADATA_KEY_PATTERN, key) is None:
            raise self._error(KEY_RULE, position)
        if key.startswith(RESERVED_METADATA_PREFIX):
            raise self._error(RESERVED_KEY_RULE, position)
        return key

    def _read_values(self) -> frozenset[str]:
        if not self._accept("("):
            raise self._unexpected("(")
        values = {self._read_value(",)")}
        while self._accept(","):
            values.add(self._read_value(",)"))
        if not self._accept(")"):
            raise self._unexpected(f"a comma or ){QUOTING_ADVICE}")
        return frozenset(values)

    def _read_value(self, following: str) -> str:
        """Return a value, empty before one of the following characters and at the end."""
        position = self._position
        value = self._read_text()
        if value is None:
            if self._text[position : position + 1] not in following:
                raise self._unexpected(f"a value{QUOTING_ADVICE}")
            value = ""
        if len(value) > MAX_METADATA_VALUE_CHARS or "\0" in value:
            raise self._error(VALUE_RULE, position)
        self._value_count += 1
        if self._value_count > MAX_SELECTOR_VALUES:
            raise self._error(f"At most {MAX_SELECTOR_VALUES} values are allowed.", position)
        return value

    def _read_text(self) -> str | None:
        """Return a word or a quoted text; None without one."""
        if not self._text.startswith('"', self._position):
            return self._match(WORD)
        position = self._position
        quoted_text = self._match(QUOTED_TEXT)
        if quoted_text is None:
            rule = 'A text in quotes ends with "; \\ precedes a " or a \\ in it.'
            raise self._error(rule, position)
        return ESCAPE.sub(r"\1", quoted_text[1:-1])

    def _accept(self, character: str) -> bool:
        """Pass a character and the white space after it, if it is the next one."""
        is_next = self._text.startswith(character, self._position)
        if is_next:
            self._position += 1
            self._skip_white_space()
        return is_next

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        """Pass a part and the white space after it; return the part, None without one."""
        match = pattern.match(self._text, self._position)
        if match is None:
            return None
        self._position = match.end()
        self._skip_white_space()
        return match[0]

    def _skip_white_space(self) -> None:
        white_space = WHITE_SPACE.match(self._text, self._position)
        assert white_space is not None
        self._position = white_space.end()

    def _unexpected(self, expected: str) -> SelectorError:
        word = WORD.match(self._text, self._position)
        part = word[0] if word else self._text[self._position : self._position + 1]
        symbol = f"`{part[:MAX_FOUND_CHARS]}`" if part else "the end"
        return self._error(f"Found {symbol}, expected {expected}.")

    def _error(self, message: str, position: int | None = None) -> SelectorError:
        offset = self._position if position is None else position
        return SelectorError(f"Character {offset + 1}: {message}", offset)
