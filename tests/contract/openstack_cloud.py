"""An OpenStack for the suite, and what a devcloud can be made to do."""

from collections.abc import Callable
from dataclasses import replace

from tests.contract.cloud_under_test import Cloud
from vmapi.backends.base import Backend
from vmapi.domain.vm import CreateSpec


def real_cloud(
    backend: Backend, label: str, sleep: Callable[[float], None], *, devcloud: bool
) -> Cloud:
    """Give the suite its cloud; a devcloud takes orders from the metadata of a server."""
    cloud = Cloud(backend, label, sleep, interval=0.3)
    if devcloud:
        cloud.slow_build = _with_metadata("devcloud_delay", "6")
        cloud.failing_build = _with_metadata("devcloud_fail", "spawn")
    return cloud


def _with_metadata(key: str, text: str) -> Callable[[CreateSpec], CreateSpec]:
    return lambda spec: replace(spec, metadata={**spec.metadata, key: text})
