"""The limits of Nova's quota."""

from typing import Any

import pytest

from tests.support.fake_openstack import FakeOpenStack, Reply
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.quota import ResourceLimits
from vmapi.errors import BackendFailure

LIMITS_PATH = "/compute/v2.1/limits"
NO_LIMITS = ResourceLimits()


def limits_reply(**absolute: Any) -> Reply:
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})


def test_limits_are_those_of_nova(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    reply = limits_reply(maxTotalInstances=5000, maxTotalCores=-1, maxTotalRAMSize=51_200)
    cloud.reply_to("GET", LIMITS_PATH, reply)
    assert backend.get_cloud_limits("web") == ResourceLimits(vms=5000, vcpus=None, ram_mb=51_200)
    # all projects of vmapi belong to the project of its account
    assert cloud.requests[-1].path == LIMITS_PATH


@pytest.mark.parametrize("value", [None, -1, "10", True, 1.5, {}, 2**40])
def test_unreadable_limit_is_unknown(
    cloud: FakeOpenStack, backend: OpenStackBackend, value: Any
) -> None:
    cloud.reply_to("GET", LIMITS_PATH, limits_reply(maxTotalInstances=value, maxTotalCores=3))
    assert backend.get_cloud_limits("web") == ResourceLimits(vcpus=3)


@pytest.mark.parametrize("body", [{}, {"limits": None}, {"limits": {"absolute": []}}])
def test_unreadable_limits_are_unknown(
    cloud: FakeOpenStack, backend: OpenStackBackend, body: Any
) -> None:
    cloud.reply_to("GET", LIMITS_PATH, Reply(200, body))
    assert backend.get_cloud_limits("web") == NO_LIMITS


def test_limits_that_nova_does_not_tell_are_unknown(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    message = {"code": 403, "message": "Policy doesn't allow os_compute_api:limits."}
    cloud.reply_to("GET", LIMITS_PATH, Reply(403, {"forbidden": message}))
    assert backend.get_cloud_limits("web") == NO_LIMITS


@pytest.mark.parametrize("status", [500, 503])
def test_limits_of_a_failing_cloud_are_an_error(
    cloud: FakeOpenStack, backend: OpenStackBackend, status: int
) -> None:
    cloud.reply_to("GET", LIMITS_PATH, Reply(status, {"fault": {"code": status, "message": "x"}}))
    with pytest.raises(BackendFailure):
        backend.get_cloud_limits("web")
