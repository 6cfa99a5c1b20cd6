"""The OpenStack driver keeps the contract with what a real cloud has answered before."""

from collections.abc import Iterator

import pytest

from tests.contract.cloud_under_test import Cloud
from tests.contract.openstack_cloud import real_cloud
from tests.contract.suite import BackendSuite
from tests.support.http_recorder import recording_of, replaying
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # the SDK's own


class TestRecordedOpenStack(BackendSuite):
    @pytest.fixture
    def cloud(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Cloud]:
        for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_REGION_NAME"):
            monkeypatch.delenv(name, raising=False)
        label, file = recording_of(request.node.name)
        with replaying(file) as about:
            settings = Settings(
                openstack_auth_url=about["auth_url"],
                openstack_username="someone",
                openstack_password="something",
                openstack_project="demo",
            )
            backend = OpenStackBackend.from_settings(settings)
            devcloud = about["cloud"].startswith("devcloud")
            with real_cloud(backend, label, lambda _: None, devcloud=devcloud).cleaned() as cloud:
                yield cloud
            backend.close()
