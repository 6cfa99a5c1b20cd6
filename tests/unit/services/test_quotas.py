"""The limits of a project: the lower one of vmapi and the cloud, also while the cloud fails."""

import pytest

from tests.support.api_harness import ApiHarness
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.quota import LimitSource, ProjectQuota, ResourceLimits, ResourceUsage
from vmapi.errors import BackendUnavailable
from vmapi.services import quotas as quota_module


@pytest.mark.parametrize(
    ("own", "of_cloud", "lower"),
    [
        (None, None, (None, None)),
        (5, None, (5, LimitSource.PROJECT)),
        (None, 0, (0, LimitSource.CLOUD)),
        (5, 4, (4, LimitSource.CLOUD)),
        (0, 4, (0, LimitSource.PROJECT)),
        (4, 4, (4, LimitSource.PROJECT)),
    ],
)
@pytest.mark.parametrize("kind", ["vms", "vcpus", "ram_mb"])
def test_lower_limit_has_its_source(
    kind: str,
    own: int | None,
    of_cloud: int | None,
    lower: tuple[int | None, LimitSource | None],
) -> None:
    limits, cloud_limits = ResourceLimits(**{kind: own}), ResourceLimits(**{kind: of_cloud})
    quota = ProjectQuota(ResourceUsage(), limits, cloud_limits)
    assert quota.get_lower_limit(kind) == lower


class LimitReads:
    """Limits of a cloud that change at each read, and fail on demand."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    def __call__(self, _: str) -> ResourceLimits:
        if self.fails:
            raise BackendUnavailable("away")
        self.count += 1
        return ResourceLimits(vms=self.count)


@pytest.fixture
def reads(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> LimitReads:
    reads = LimitReads()
    monkeypatch.setattr(MemoryBackend, "get_cloud_limits", lambda _, project: reads(project))
    return reads


def get_vm_limit(harness: ApiHarness, **headers: str) -> tuple[int, int | None]:
    response = harness.call(
        "GET", "/quota", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    body = response.json or {}
    return response.status_code, body["vms"]["limit"] if response.status_code == 200 else None


def test_limits_of_the_cloud_are_cached(
    harness: ApiHarness, reads: LimitReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [get_vm_limit(harness) for _ in range(3)] == [(200, 1)] * 3
    assert get_vm_limit(harness, Cache_Control="no-cache") == (200, 2)
    assert get_vm_limit(harness) == (200, 2)
    monkeypatch.setattr(quota_module, "CLOUD_LIMITS_TTL", 0.0)
    assert get_vm_limit(harness) == (200, 3)


def test_known_limits_are_used_while_the_cloud_fails(
    harness: ApiHarness, reads: LimitReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota_module, "CLOUD_LIMITS_TTL", 0.0)
    assert get_vm_limit(harness) == (200, 1)
    reads.fails = True
    assert get_vm_limit(harness) == (200, 1)
    # fresh data are asked for, and unknown limits are not reported as no limits
    assert get_vm_limit(harness, Cache_Control="no-cache") == (503, None)


def test_unknown_limits_are_an_error(harness: ApiHarness, reads: LimitReads) -> None:
    reads.fails = True
    assert get_vm_limit(harness) == (503, None)
