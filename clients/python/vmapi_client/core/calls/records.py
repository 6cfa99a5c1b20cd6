"""The calls on operations, the catalog, the quota, the audit trail, and the server itself."""

from typing import Any

from vmapi_client.core.calls.session import CallSession, build_query, operation_path
from vmapi_client.core.exchange import Plan, Request
from vmapi_client.models import Flavor, Health, Image, Network, Operation, Quota, Readiness


class RecordCalls:
    """Plans of the reads that are not about VMs."""

    def __init__(self, session: CallSession) -> None:
        self._session = session

    def operations_request(self, **filters: Any) -> Request:
        """Return the request of the first page of operations."""
        return Request("GET", "/operations", build_query(**filters))

    def audit_request(self, **filters: Any) -> Request:
        """Return the request of the first page of the audit trail."""
        return Request("GET", "/audit", build_query(**filters))

    def operation(self, operation_id: str, timeout: float | None) -> Plan[Operation]:
        """Read an operation."""
        request = Request("GET", operation_path(operation_id))
        return self._session.read_model(Operation, request, timeout)

    def flavors(self, timeout: float | None) -> Plan[list[Flavor]]:
        """Read all flavors."""
        return self._session.read_items(Flavor, Request("GET", "/flavors"), timeout)

    def images(self, timeout: float | None) -> Plan[list[Image]]:
        """Read all images."""
        return self._session.read_items(Image, Request("GET", "/images"), timeout)

    def networks(self, timeout: float | None) -> Plan[list[Network]]:
        """Read all networks."""
        return self._session.read_items(Network, Request("GET", "/networks"), timeout)

    def quota(self, timeout: float | None) -> Plan[Quota]:
        """Read the quota of the caller's project."""
        return self._session.read_model(Quota, Request("GET", "/quota"), timeout)

    def health(self, timeout: float | None) -> Plan[Health]:
        """Read the version of the API and the time of the server; needs no token."""
        return self._session.read_model(Health, Request("GET", "/health"), timeout)

    def readiness(self, timeout: float | None) -> Plan[Readiness]:
        """Read the readiness of the server; needs no token."""
        request = Request("GET", "/readyz", below_root=True, failure_statuses=(503,))
        return self._session.read_model(Readiness, request, timeout)
