"""Limits of a GraphQL document, checked before its validation and execution.

The measures expand fragments, and each fragment is measured once. So a check takes a time linear in
the document, also where its fragments expand to billions of fields.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    Visitor,
    visit,
)

from vmapi.domain.pagination import MAX_PAGE_SIZE
from vmapi.errors import MalformedRequest

DEFAULT_FIRST = 50
"""The items of a page without `first`, as in the lists of the REST API."""

LIST_PAGES = frozenset({"vms", "operations"})
PAGED_FIELDS = LIST_PAGES | {"events"}
PAGE_IN_SUBSCRIPTION_DETAIL = "A subscription has no pages: query them with a separate request."
MAX_TOKENS = 2000
MAX_GRAPHQL_DEPTH = 15
MAX_NESTED_SELECTIONS = 100
"""Levels of braces with those of the fragments. The checks call themselves for each level."""

MAX_VALIDATION_STEPS = 100_000
"""Steps of the validation, which compares all fields of one name with each other: 0.2 s."""

MAX_ALIASES = 30
MAX_INTEGER_DIGITS = 100
"""Python converts no text of thousands of digits."""

MAX_CHANGES = 10
JSON_COSTS = {"metadata": 20, "bulk": 20}
"""The fields that a JSON object counts for: a VM has up to 127 pairs of metadata."""

MAX_EVENT_COST = 200
"""Fields of an event of a subscription, which are sent for each event."""

MAX_COST = 50_000
"""Fields of a result; a page of 1,000 VMs with all fields has 30,000."""

FEWER_LEVELS = "Nest fewer levels, or send several requests."
FEWER_FIELDS = "Select fewer fields or smaller pages, or send several requests."


@dataclass(frozen=True, slots=True)
class _Measure:
    """The levels of nested fields and selections, the fields of a result, and the first ones."""

    depth: int = 0
    nesting: int = 0
    cost: int = 0
    width: int = 0


def check_limits(document: DocumentNode, variables: Mapping[str, Any]) -> None:
    """Raise MalformedRequest if a document exceeds a limit."""
    counter = _NodeCounter()
    visit(document, counter)
    _check("aliases", counter.aliases, MAX_ALIASES)
    _check("digits in an integer", counter.digits, MAX_INTEGER_DIGITS, "Send a smaller number.")
    measurer = _Measurer(document, variables)
    measure = measurer.measure_operations(*OperationType)
    _check("levels of fields", measure.depth, MAX_GRAPHQL_DEPTH, FEWER_LEVELS)
    _check("nested selections", measure.nesting, MAX_NESTED_SELECTIONS, FEWER_LEVELS)
    _check("fields in its result", measure.cost, MAX_COST, FEWER_FIELDS)
    # a stream counts as a page
    event_cost = measurer.measure_operations(OperationType.SUBSCRIPTION).cost // DEFAULT_FIRST
    _check("fields in an event", event_cost, MAX_EVENT_COST, FEWER_FIELDS)
    _check("changes", measurer.measure_operations(OperationType.MUTATION).width, MAX_CHANGES)


def _check(kind: str, count: int, limit: int, remedy: str = "Send several requests.") -> None:
    if count > limit:
        detail = f"The document has {count} {kind}; the limit is {limit}. {remedy}"
        raise MalformedRequest(detail)


def check_subscription(document: DocumentNode) -> None:
    """Raise MalformedRequest for a field that a subscription cannot read for each event."""
    if _has_field(document, LIST_PAGES):
        raise MalformedRequest(PAGE_IN_SUBSCRIPTION_DETAIL)


def has_operation_pages(document: DocumentNode) -> bool:
    """Return whether a document has pages of operations, which may differ for one page of VMs."""
    return _has_field(document, frozenset({"operations"}))


def _has_field(document: DocumentNode, names: frozenset[str]) -> bool:
    counter = _FieldCounter(names)
    visit(document, counter)
    return counter.count > 0


class _FieldCounter(Visitor):
    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self._names = names
        self.count = 0

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.count += node.name.value in self._names


class _NodeCounter(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.aliases = 0
        self.digits = 0

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.aliases += node.alias is not None

    def enter_int_value(self, node: IntValueNode, *_: Any) -> None:
        self.digits = max(self.digits, len(node.value))


class _Measurer:
    """Measures the operations of a document with the values of its variables."""

    def __init__(self, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._document = document
        self._variables = variables
        self._fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._default_counts = _default_counts(document)
        self._measured: dict[str, _Measure] = {}
        self._level = 0

    def measure_operations(self, *types: OperationType) -> _Measure:
        """Return the largest measures of the operations of some types."""
        operations = [
            self._measure_selections(node.selection_set)
            for node in self._document.definitions
            if isinstance(node, OperationDefinitionNode) and node.operation in types
        ]
        return _combine(operations, max)

    def _measure_selections(self, selections: SelectionSetNode | None) -> _Measure:
        nodes = selections.selections if selections else ()
        self._level += 1
        _check("nested selections", self._level, MAX_NESTED_SELECTIONS, FEWER_LEVELS)
        measure = _combine(map(self._measure_node, nodes), sum)
        self._level -= 1
        return replace(measure, nesting=measure.nesting + 1) if nodes else measure

    def _measure_node(self, node: Any) -> _Measure:
        if isinstance(node, FragmentSpreadNode):
            return self._measure_fragment(node.name.value)
        nested = self._measure_selections(node.selection_set)
        if isinstance(node, InlineFragmentNode):
            return nested
        cost = JSON_COSTS.get(node.name.value, 1) + self._item_count(node) * nested.cost
        return _Measure(nested.depth + 1, nested.nesting, cost, 1)

    def _measure_fragment(self, name: str) -> _Measure:
        if name not in self._measured:
            # a fragment that contains itself has no end; the validation refuses it
            self._measured[name] = _Measure()
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._measured[name] = self._measure_selections(fragment.selection_set)
        return self._measured[name]

    def _item_count(self, field: FieldNode) -> int:
        """Return the items of a page; 1 for a field that is no page."""
        if field.name.value not in PAGED_FIELDS:
            return 1
        values = [node.value for node in field.arguments or () if node.name.value == "first"]
        count = self._to_count(values[0]) if values else DEFAULT_FIRST
        # the schema refuses others: they must not lower the sum
        return max(1, min(count, MAX_PAGE_SIZE))

    def _to_count(self, value: Any) -> int:
        if isinstance(value, IntValueNode):
            return _to_int(value)
        if not isinstance(value, VariableNode):
            # the validation refuses any other literal
            return MAX_PAGE_SIZE
        name = value.name.value
        count = self._variables.get(name, self._default_counts.get(name))
        return count if isinstance(count, int) else MAX_PAGE_SIZE


def _default_counts(document: DocumentNode) -> dict[str, int]:
    """Return the largest default value of each variable of the document, if it is a number."""
    counts: dict[str, int] = {}
    for operation in document.definitions:
        if isinstance(operation, OperationDefinitionNode):
            for variable in operation.variable_definitions or ():
                if isinstance(variable.default_value, IntValueNode):
                    name, count = variable.variable.name.value, _to_int(variable.default_value)
                    counts[name] = max(count, counts.get(name, 0))
    return counts


def _to_int(value: IntValueNode) -> int:
    # int() refuses thousands of digits
    return int(value.value[:8])


def _combine(measures: Iterable[_Measure], add: Callable[[Iterable[int]], int]) -> _Measure:
    measured = [_Measure(), *measures]
    depth = max(measure.depth for measure in measured)
    nesting = max(measure.nesting for measure in measured)
    cost = add(measure.cost for measure in measured)
    return _Measure(depth, nesting, cost, add(measure.width for measure in measured))
