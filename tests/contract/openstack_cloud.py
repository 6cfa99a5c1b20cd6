"""The cloud under test for the OpenStack driver, with the hooks of a devcloud."""

from collections.abc import Callable
from dataclasses import replace

from tests.contract.cloud_under_test import CloudUnderTest
from vmapi.backends.base import Backend
from vmapi.domain.vm import CreateSpec


def openstack_cloud(
    backend: Backend, label: str, sleep: Callable[[float], None], *, is_devcloud: bool
) -> CloudUnderTest:
    """Return a cloud for the suite. A devcloud obeys instructions in the metadata of a server."""
    cloud = CloudUnderTest(backend, label, sleep, poll_interval=0.3)
    if is_devcloud:
        cloud.slow_build = _with_metadata("devcloud_delay", "6")
        cloud.failing_build = _with_metadata("devcloud_fail", "spawn")
    return cloud


def _with_metadata(key: str, text: str) -> Callable[[CreateSpec], CreateSpec]:
    return lambda spec: replace(spec, metadata={**spec.metadata, key: text})
