"""Fixtures of delegated changes: a Keystone with two users, and a cloud that records tokens."""

import pytest
import requests_mock

from tests.support.api_harness import ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.delegated_calls import PROJECTS, URL, DelegatingCloud
from tests.support.fake_clock import Clock


@pytest.fixture
def backend(clock: Clock, latency: str) -> DelegatingCloud:
    return DelegatingCloud(clock, latency)


@pytest.fixture
def keystone(requests_mock: requests_mock.Mocker) -> None:
    for token, project in PROJECTS.items():
        token_body = {
            "user": {"id": f"user-{project}"},
            "project": {"id": project},
            "roles": [{"name": "member"}],
            "expires_at": "2126-02-25T00:00:00.000000Z",
        }
        subject_header = {"X-Subject-Token": token}
        requests_mock.get(
            f"{URL}/auth/tokens", request_headers=subject_header, json={"token": token_body}
        )


@pytest.fixture
def auth_harness(keystone: None, harness: ApiHarness) -> AuthHarness:
    return AuthHarness(harness, auth=("token", "keystone"), keystone_url=URL)
