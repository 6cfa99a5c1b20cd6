"""Summarize the operation of a document for the access log."""

from collections.abc import Iterator, Mapping

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

MAX_SUMMARY_CHARS = 200

Fragments = Mapping[str, FragmentDefinitionNode]


def summarize_operation(document: DocumentNode, operation: OperationDefinitionNode) -> str:
    """Return the type, the name and the first fields of an operation: `query Page: vms`."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    name = f" {operation.name.value}" if operation.name else ""
    fields = dict.fromkeys(_first_fields(operation.selection_set, fragments, set()))
    summary = f"{operation.operation.value}{name}: {', '.join(fields)}"
    return summary[:MAX_SUMMARY_CHARS]


def _first_fields(
    selections: SelectionSetNode, fragments: Fragments, spread_names: set[str]
) -> Iterator[str]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
        elif isinstance(node, InlineFragmentNode):
            yield from _first_fields(node.selection_set, fragments, spread_names)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread_names:
            spread_names.add(node.name.value)
            if fragment := fragments.get(node.name.value):
                yield from _first_fields(fragment.selection_set, fragments, spread_names)
