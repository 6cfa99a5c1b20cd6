"""The driver contract on the OpenStack driver with recorded responses of a real cloud."""

from collections.abc import Iterator

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.contract.openstack_cloud import openstack_cloud
from tests.contract.suite import BackendSuite
from tests.support.http_recorder import recording_path, replaying
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings


class TestRecordedOpenStack(BackendSuite):
    @pytest.fixture
    def cloud(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[CloudUnderTest]:
        for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_REGION_NAME"):
            monkeypatch.delenv(name, raising=False)
        with replaying(recording_path(request.node.name)) as recording:
            settings = Settings(
                openstack_auth_url=recording["auth_url"],
                openstack_username="someone",
                openstack_password="something",
                openstack_project="demo",
            )
            backend = OpenStackBackend.from_settings(settings)
            cloud = openstack_cloud(
                backend,
                recording["label"],
                lambda _: None,
                is_devcloud=recording["cloud"].startswith("devcloud"),
            )
            with cloud.deleting_created_vms():
                yield cloud
            backend.close()
