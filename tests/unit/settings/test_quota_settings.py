"""VMAPI_QUOTAS: syntax, refused values, the default of other projects."""

import pytest

from vmapi.domain.quota import NO_QUOTAS, NO_RESOURCE_LIMITS, QuotaConfig, ResourceLimits
from vmapi.errors import SettingsError
from vmapi.settings.limits import parse_quotas
from vmapi.settings.settings import Settings


@pytest.mark.parametrize(
    ("text", "quotas"),
    [
        ("", NO_QUOTAS),
        (" ", NO_QUOTAS),
        ("*:vms=100", QuotaConfig({}, ResourceLimits(vms=100))),
        (
            "web:vms=10,vcpus=20,ram_mb=40960; *:vms=100",
            QuotaConfig({"web": ResourceLimits(10, 20, 40_960)}, ResourceLimits(vms=100)),
        ),
        ("web : vms = 0", QuotaConfig({"web": ResourceLimits(vms=0)})),
        ("*:vms=1;web:", QuotaConfig({"web": NO_RESOURCE_LIMITS}, ResourceLimits(vms=1))),
        (f"{'a' * 64}:ram_mb=1", QuotaConfig({"a" * 64: ResourceLimits(ram_mb=1)})),
    ],
)
def test_quotas_are_parsed_by_project(text: str, quotas: QuotaConfig) -> None:
    assert parse_quotas(text) == quotas


@pytest.mark.parametrize(
    "text",
    [
        *("vms=10", "web", "web=10", ":vms=1", ";", "web:vms=1;", "web:vms=1;web:vcpus=1"),
        *("*:vms=1;*:vms=2", "web:vms=-1", "web:vms=1.5", "web:vms=", "web:disk_gb=1"),
        *("web:vms=1,vms=2", "a b:vms=1", f"{'a' * 65}:vms=1", "-web:vms=1", "é:vms=1"),
        *("web:vms=1000000000", "web:vms=one", "web:vms=1:vcpus=1"),
    ],
)
def test_malformed_quotas_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^VMAPI_QUOTAS .*: allowed is "):
        Settings.from_environ({"VMAPI_QUOTAS": text})


def test_named_project_has_its_own_limits_only() -> None:
    quotas = parse_quotas("web:vms=1;db:;*:vcpus=2")
    limits = [quotas.limits_for(project) for project in ("web", "db", "mail")]
    assert limits == [ResourceLimits(vms=1), NO_RESOURCE_LIMITS, ResourceLimits(vcpus=2)]
