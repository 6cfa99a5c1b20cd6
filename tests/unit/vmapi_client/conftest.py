"""Fixtures of the tests of the Python client."""

import pytest

from tests.support.client_plans import PlanRunner


@pytest.fixture
def runner() -> PlanRunner:
    return PlanRunner()
