"""/operations: changes of VMs, their progress and their outcome."""

from flask import Response

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import Blueprint
from vmapi.api.request.caller import current_scope, current_user
from vmapi.api.request.context import current_services
from vmapi.api.request.headers import preference_applied, preferred_wait
from vmapi.api.schemas.operations import (
    OperationListSchema,
    OperationQuerySchema,
    OperationSchema,
)
from vmapi.domain.access.roles import Permission
from vmapi.domain.bulk import BulkOperation
from vmapi.domain.operation import OperationQuery
from vmapi.domain.pagination import PageRequest

blp = Blueprint("operations", "Changes of VMs, their progress and outcome")


@blp.get("/operations")
@blp.requires(Permission.READ)
@blp.arguments(OperationQuerySchema(), location="query")
@blp.response(200, OperationListSchema(), example=examples.OPERATION_LIST, headers=["Link"])
@blp.problems("store_unavailable")
def list_operations(query: tuple[OperationQuery, PageRequest]) -> Response:
    """List operations"""
    page = current_services().operations.list(*query, current_scope())
    items = [responses.operation_document(operation) for operation in page.items]
    return responses.page_response(page, items)


@blp.get("/operations/<operation_id>")
@blp.requires(Permission.READ)
@blp.request_headers("Prefer")
@blp.response(200, OperationSchema(), example=examples.OPERATION, headers=["Preference-Applied"])
@blp.problems("operation_not_found", "store_unavailable")
def get_operation(operation_id: str) -> Response:
    """Get an operation"""
    operation = current_services().operations.get(
        operation_id, current_scope(), current_user(), preferred_wait()
    )
    headers = preference_applied(finished=operation.is_finished)
    if isinstance(operation, BulkOperation):
        return responses.json_response(responses.bulk_document(operation), headers=headers)
    return responses.json_response(responses.operation_document(operation), headers=headers)
