"""Execute documents. The pages of VMs come from `page_texts`."""

from typing import Any

import orjson
from graphql import FieldNode
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from vmapi.api.graphql import page_texts
from vmapi.api.graphql.state import ExecutionState
from vmapi.api.graphql.types.connections import ConnectionPage
from vmapi.domain.pagination import Page


class PageExecutor(StrawberryGraphQLCoreExecutionContext):
    """Completes the fields of a document, and a page of VMs from an earlier execution."""

    def complete_object_value(
        self, return_type: Any, fields: Any, info: Any, path: Any, result: Any, *rest: Any
    ) -> Any:
        """Return the members of an object, or the JSON of a page."""
        state: ExecutionState = self.context_value
        is_page_of_vms = isinstance(result, ConnectionPage) and result.list_name == "vms"
        if is_page_of_vms and state.document_key is not None:
            name = path.as_list()[0]
            if text := page_texts.find_text(result.page, state.document_key, name):
                return orjson.Fragment(text)
        members = super().complete_object_value(return_type, fields, info, path, result, *rest)
        if is_page_of_vms and state.document_key is not None and not self.collected_errors.errors:
            self._store_page(state, result.page, name, members)
        return members

    def _store_page(self, state: ExecutionState, page: Page[Any], name: str, members: Any) -> None:
        page_texts.store_text(page, state.document_key, name, orjson.dumps(members))
        selections = self.operation.selection_set.selections
        has_one_field = len(selections) == 1 and isinstance(selections[0], FieldNode)
        if state.page_read is not None and has_one_field:
            page_texts.store_read(state.document_key, page_texts.PageRead(*state.page_read, name))
