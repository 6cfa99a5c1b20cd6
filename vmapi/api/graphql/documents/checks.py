"""Parse documents and check their limits, once for a repeated request."""

from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock

import orjson
from cachetools import LRUCache
from graphql import (
    DocumentNode,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)

from vmapi.api.graphql.documents.limits import (
    MAX_TOKENS,
    check_limits,
    check_subscription,
    has_operation_pages,
)
from vmapi.api.graphql.documents.operation_summary import summarize_operation
from vmapi.api.graphql.documents.requests import GraphQLRequest
from vmapi.errors import MalformedRequest, MethodNotAllowed

MAX_CACHED_DOCUMENTS = 64
MAX_CACHED_DOCUMENT_CHARS = 4000
"""A longer document, or one with longer values of its variables, is not cached.

A parsed document of this length takes up to 400 kilobytes.
"""

MAX_NAMED_OPERATIONS = 10
"""The operations that an error names."""

MAX_NAMED_VARIABLES = 30
MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """A document within its limits."""

    is_short: bool
    """Whether the caches take the document."""

    key: Hashable | None
    """The key of a page that only the document and its variables determine; None without one."""

    summary: str
    """The operation in the access log."""


_lock = Lock()
_checked: LRUCache[Hashable, CheckedDocument] = LRUCache(MAX_CACHED_DOCUMENTS)


def check_document(request: GraphQLRequest) -> CheckedDocument:
    """Check the document of a request.

    Raises GraphQLSyntaxError, MalformedRequest and MethodNotAllowed.
    """
    key = _find_key(request)
    if key is None:
        return _check(request, None)
    with _lock:
        checked = _checked.get(key)
    if checked is None:
        checked = _check(request, key)
        with _lock:
            _checked[key] = checked
    return checked


def _find_key(request: GraphQLRequest) -> Hashable | None:
    try:
        variables = orjson.dumps(request.variables, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # an integer of more than 64 bits
        return None
    if len(request.query) + len(variables) > MAX_CACHED_DOCUMENT_CHARS:
        return None
    options = (request.is_read_only, request.wants_stream)
    return request.query, request.operation_name, variables, options


def _check(request: GraphQLRequest, key: Hashable | None) -> CheckedDocument:
    document = parse(request.query, max_tokens=MAX_TOKENS)
    operation = _get_operation(request, document)
    check_limits(document, request.variables)
    page_key = None if has_operation_pages(document) else key
    summary = summarize_operation(document, operation)
    return CheckedDocument(key is not None, page_key, summary)


def _get_operation(request: GraphQLRequest, document: DocumentNode) -> OperationDefinitionNode:
    """Return the operation that the request names.

    Raises MalformedRequest without one, MethodNotAllowed or MalformedRequest for a type of
    operation that the request cannot have.
    Source: https://spec.graphql.org/October2021/#GetOperation()
    """
    operation = get_operation_ast(document, request.operation_name)
    if operation is None:
        # the library would execute the first one
        raise MalformedRequest(_describe_operations(document))
    kind = operation.operation
    if kind is OperationType.SUBSCRIPTION:
        if not request.wants_stream:
            raise MalformedRequest("A subscription needs the header Accept: text/event-stream.")
        check_subscription(document)
    elif request.is_read_only and kind is not OperationType.QUERY:
        raise MethodNotAllowed("GET executes queries only. Send this operation with POST.")
    if kind is OperationType.MUTATION:
        _check_variable_names(request, operation)
    return operation


def _check_variable_names(request: GraphQLRequest, operation: OperationDefinitionNode) -> None:
    """Raise MalformedRequest for the value of a variable that a mutation does not have.

    GraphQL ignores it, and a misspelled `ifMatch` or `idempotencyKey` would be lost.
    """
    names = [node.variable.name.value for node in operation.variable_definitions or ()]
    unknown = [name for name in request.variables if name not in names]
    if unknown:
        variables = ", ".join(f"${name}" for name in names[:MAX_NAMED_VARIABLES])
        raise MalformedRequest(
            f"The mutation has no variable ${unknown[0][:MAX_NAME_CHARS]}. "
            f"Its variables are: {variables or 'none'}."
        )


def _describe_operations(document: DocumentNode) -> str:
    operations = [
        node for node in document.definitions if isinstance(node, OperationDefinitionNode)
    ]
    names = ", ".join(node.name.value for node in operations[:MAX_NAMED_OPERATIONS] if node.name)
    if not operations:
        return "The document has no query, mutation or subscription."
    return f"operationName must name one operation of the document: {names or 'it names none'}."
