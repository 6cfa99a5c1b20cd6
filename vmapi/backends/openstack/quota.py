"""The limits of Nova's own quota (Nova API "Limits")."""

from vmapi.backends.openstack.connection.session import CloudSession
from vmapi.backends.openstack.members import integer_member, object_member
from vmapi.domain.quota import ResourceLimits
from vmapi.errors import Forbidden


def read_compute_limits(session: CloudSession, project_id: str | None) -> ResourceLimits:
    """Return the limits of a Keystone project; None for the project of vmapi's account.

    None means that Nova has no limit (-1), or refuses to show the limits: only the account of an
    admin may read those of other projects.
    """
    query = {} if project_id is None else {"tenant_id": project_id}
    try:
        response = session.read("compute", "/limits", query)
    except Forbidden:
        return ResourceLimits()
    limits = object_member(object_member(response, "limits"), "absolute")
    return ResourceLimits(
        vms=integer_member(limits, "maxTotalInstances"),
        vcpus=integer_member(limits, "maxTotalCores"),
        ram_mb=integer_member(limits, "maxTotalRAMSize"),
    )
