"""The limits of Nova's quota with Keystone projects."""

from tests.support.fake_openstack import FakeOpenStack, Reply
from tests.support.keystone_projects import FORBIDDEN_BY_POLICY
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.quota import ResourceLimits

LIMITS = "/compute/v2.1/limits"


def test_limits_are_those_of_the_keystone_project(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", LIMITS, Reply(200, {"limits": {"absolute": {"maxTotalInstances": 7}}}))
    for project, query in (("p", ""), ("project-a", "?tenant_id=project-a")):
        assert backend.get_cloud_limits(project) == ResourceLimits(vms=7)
        assert cloud.requests[-1].path == f"{LIMITS}{query}"


def test_hidden_limits_of_another_project_are_unknown(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", LIMITS, FORBIDDEN_BY_POLICY)
    assert backend.get_cloud_limits("project-a") == ResourceLimits()
