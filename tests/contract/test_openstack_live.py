"""The OpenStack driver keeps the contract on a real cloud, the one that OS_CLOUD names."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from time import sleep
from uuid import uuid4

import pytest

from tests.contract.cloud_under_test import Cloud
from tests.contract.openstack_cloud import real_cloud
from tests.contract.suite import BackendSuite
from tests.support.http_recorder import Recorder, recording_of
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # the SDK's own
]
REQUIRED = "cloud" in os.environ.get("TEST_REQUIRE", "")


class TestOpenStack(BackendSuite):
    @pytest.fixture
    def cloud(self, request: pytest.FixtureRequest) -> Iterator[Cloud]:
        name = os.environ.get("OS_CLOUD")
        if not name:
            (pytest.fail if REQUIRED else pytest.skip)("OS_CLOUD names no cloud")
        backend = OpenStackBackend.from_settings(Settings(os_cloud=name))
        record = bool(os.environ.get("RECORD_EXCHANGES"))
        label, file = recording_of(request.node.name)
        label = label if record else f"{label}-{uuid4().hex[:6]}"
        cloud = real_cloud(backend, label, sleep, devcloud=name.startswith("devcloud"))
        about = {"auth_url": backend.describe()["auth_url"], "cloud": name}
        recording = Recorder(file, about).recording() if record else nullcontext()
        with recording, cloud.cleaned():
            yield cloud
        backend.close()
