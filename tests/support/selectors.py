"""Generated selectors with their text, and a plain evaluation of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

WORDS = ("a", "A", "in", "notin", "b.c", "x:1", "-", "0", "é", "\U0001f600")
KEYS = ("a", "A", "in", "a.b", "a:b", "0", "with space", " ", "notin")
VALUES = (*WORDS, "", " ", "a,b", "(a)", '"', "\\", "!=", "a b", "%", "_", "null", "'", "\n")
SYNTAX_CHARACTERS = set(" ,()=!<>\"'\\\n")

metadata = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=4)


@dataclass(frozen=True)
class Condition:
    """One requirement with the operator and the values as the client wrote them."""

    key: str
    operator: str
    values: Sequence[str]

    def evaluate(self, pairs: Mapping[str, str]) -> bool:
        """Return whether metadata meets the requirement, by the documentation of Kubernetes."""
        evaluations: dict[str, Callable[[], bool]] = {
            "exists": lambda: self.key in pairs,
            "!exists": lambda: self.key not in pairs,
            "=": lambda: self.key in pairs and pairs[self.key] == self.values[0],
            "!=": lambda: self.key not in pairs or pairs[self.key] != self.values[0],
            "in": lambda: self.key in pairs and pairs[self.key] in self.values,
            "notin": lambda: self.key not in pairs or pairs[self.key] not in self.values,
        }
        return evaluations[self.operator.replace("==", "=")]()


conditions = st.builds(
    Condition,
    key=st.sampled_from(KEYS),
    operator=st.sampled_from(["exists", "!exists", "=", "==", "!=", "in", "notin"]),
    values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
)


@st.composite
def selectors(draw: st.DrawFn) -> tuple[str, Sequence[Condition]]:
    """Draw the text of a selector in any spelling, and its conditions."""

    def spell(text: str) -> str:
        is_word = bool(text) and not SYNTAX_CHARACTERS & set(text)
        if is_word and draw(st.booleans()):
            return text
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    def join(separator: str, parts: Sequence[str]) -> str:
        return separator.join(draw(spaces) + part + draw(spaces) for part in parts)

    def write(condition: Condition) -> str:
        key, operator = spell(condition.key), condition.operator
        if operator in ("exists", "!exists"):
            return join("", ["!", key]) if operator == "!exists" else key
        if operator in ("in", "notin"):
            values = join(",", [spell(value) for value in condition.values])
            return f"{key} {operator}{draw(spaces)}({values})"
        return join("", [key, operator, spell(condition.values[0])])

    spaces = st.sampled_from(["", "", " ", "\t"])
    drawn = draw(st.lists(conditions, min_size=1, max_size=4))
    return join(",", [write(condition) for condition in drawn]), drawn
