"""The driver contract on the OpenStack driver with a real cloud, named by OS_CLOUD."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from time import sleep
from uuid import uuid4

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.contract.openstack_cloud import openstack_cloud
from tests.contract.suite import BackendSuite
from tests.support.http_recorder import HttpRecorder, label_of, recording_path
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.live
IS_CLOUD_REQUIRED = "cloud" in os.environ.get("TEST_REQUIRE", "")


class TestOpenStack(BackendSuite):
    @pytest.fixture
    def cloud(self, request: pytest.FixtureRequest) -> Iterator[CloudUnderTest]:
        name = os.environ.get("OS_CLOUD")
        if not name:
            (pytest.fail if IS_CLOUD_REQUIRED else pytest.skip)("OS_CLOUD names no cloud")
        backend = OpenStackBackend.from_settings(Settings(os_cloud=name))
        is_recorded = bool(os.environ.get("RECORD_EXCHANGES"))
        label = label_of(request.node.name)
        label = label if is_recorded else f"{label}-{uuid4().hex[:6]}"
        cloud = openstack_cloud(backend, label, sleep, is_devcloud=name.startswith("devcloud"))
        about = {"auth_url": backend.describe()["auth_url"], "cloud": name, "label": label}
        recorder = HttpRecorder(recording_path(request.node.name), about)
        recording = recorder.recording() if is_recorded else nullcontext()
        with recording, cloud.deleting_created_vms():
            yield cloud
        backend.close()
